package translator

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// assembly puts the pieces of a translation together.
type assembly struct {
	builder    *envoy.Builder
	prev       map[string]builtConfig
	listeners  []*gatewayapi.Listener
	serving    map[*gatewayapi.Listener]bool
	sockets    map[string][]*gatewayapi.Listener
	claimed    map[string][]string                  // protocol and socket → hostnames of its listeners
	hosts      map[string]map[string][]*envoy.Entry // route configuration → domain → entries
	resources  map[snapshot.Type]map[string]snapshot.Resource
	policies   map[string]*policy.Security
	data       config.Data
	conditions []status.Condition
	attached   map[listenerName]int
	configs    map[string]builtConfig
	seals      map[string]string // by policy reference
	sealed     map[string]string // the previous assembly's
}

// builtConfig remembers a RouteConfiguration and the very entries it was made of.
type builtConfig struct {
	hosts  map[string][]*envoy.Entry
	result snapshot.Resource
}

func newAssembly(b *envoy.Builder, prev *assembly) *assembly {
	a := &assembly{
		builder: b, serving: map[*gatewayapi.Listener]bool{}, sockets: map[string][]*gatewayapi.Listener{}, claimed: map[string][]string{},
		hosts: map[string]map[string][]*envoy.Entry{}, resources: map[snapshot.Type]map[string]snapshot.Resource{},
		policies: map[string]*policy.Security{}, data: config.Data{}, configs: map[string]builtConfig{},
		attached: map[listenerName]int{}, seals: map[string]string{},
	}
	for _, t := range snapshot.Types() {
		a.resources[t] = map[string]snapshot.Resource{}
	}
	if prev != nil {
		a.prev, a.sealed = prev.configs, prev.seals
	}
	return a
}

// done keeps only what the next assembly reuses.
func (a *assembly) done() *assembly { return &assembly{configs: a.configs, seals: a.seals} }

func (a *assembly) gateway(g *gatewayapi.Gateway) {
	a.listeners = append(a.listeners, g.Listeners...)
	a.conditions = append(a.conditions, g.Conditions...)
}

// bind decides which listeners serve. Those of one socket share it by hostname; of two that can't, the
// older one wins, then the lesser by namespace and name.
func (a *assembly) bind() {
	sorted := slices.Clone(a.listeners)
	slices.SortStableFunc(sorted, func(x, y *gatewayapi.Listener) int {
		return cmp.Or(cmp.Compare(x.Created, y.Created), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Gateway, y.Gateway))
	})
	for _, l := range sorted {
		a.claimed[claims(l)] = append(a.claimed[claims(l)], l.Hostname)
		if l.Fault != "" {
			continue
		}
		if reason, message := conflict(l, a.sockets[l.Socket()]); message != "" {
			a.conditions = append(a.conditions, status.Condition{
				Object: l.Key(), Ancestor: l.Name, Type: "Conflicted", True: true, Reason: reason, Message: message,
			})
			continue
		}
		a.serving[l] = true
		a.sockets[l.Socket()] = append(a.sockets[l.Socket()], l)
	}
	for _, listeners := range a.sockets {
		a.put(snapshot.Listener, a.builder.Listener(listeners))
		a.overlap(listeners)
		for _, l := range listeners {
			if a.hosts[l.RouteConfig()] == nil {
				a.hosts[l.RouteConfig()] = map[string][]*envoy.Entry{}
			}
			a.isolate(l)
			for _, c := range l.Certificates {
				a.put(snapshot.Secret, envoy.Secret(c))
			}
		}
	}
}

func conflict(l *gatewayapi.Listener, others []*gatewayapi.Listener) (reason, message string) {
	for _, o := range others {
		where := fmt.Sprintf("listener %s of %s", o.Name, o.Key())
		switch {
		case o.TLS != l.TLS:
			return "ProtocolConflict", fmt.Sprintf("%s uses %s with another protocol; choose another port", where, l.Socket())
		case o.Hostname == l.Hostname:
			return "HostnameConflict", where + " has the same port and hostname; change one of them"
		case !l.TLS && !reflect.DeepEqual(o.Client, l.Client):
			// They share a filter chain: one of them would believe addresses that only the other's clients may tell.
			return "ClientIPDetectionConflict", where + " has the same port and detects the client's address otherwise; " +
				"give both the same ClientTrafficPolicy, or another port"
		}
	}
	return "", ""
}

func (a *assembly) route(u *unit) {
	a.conditions = append(a.conditions, u.conditions...)
	a.attach(u)
	used := false
	placed := map[[2]string]bool{} // an HTTPS listener has one configuration for all its addresses
	for _, p := range u.placements {
		if !a.serving[p.listener] {
			continue
		}
		used = true
		hosts := a.hosts[p.listener.RouteConfig()]
		for _, h := range p.hostnames {
			at := [2]string{p.listener.RouteConfig(), h}
			if placed[at] && p.listener.TLS || a.isolated(p.listener, h) {
				continue
			}
			placed[at] = true
			hosts[h] = append(hosts[h], p.entries...)
		}
	}
	if !used {
		return
	}
	for _, r := range u.clusters {
		a.put(snapshot.Cluster, r)
	}
	for _, r := range u.endpoints {
		a.put(snapshot.Endpoint, r)
	}
	for _, s := range u.security {
		a.policies[s.Ref] = s
	}
}

func (a *assembly) put(t snapshot.Type, r snapshot.Resource) { a.resources[t][r.Name] = r }

func (a *assembly) snapshot() *snapshot.Snapshot {
	for name, hosts := range a.hosts {
		a.put(snapshot.Route, a.routeConfig(name, hosts))
	}
	out := &snapshot.Snapshot{Resources: map[snapshot.Type][]snapshot.Resource{}, Data: a.data}
	for t, byName := range a.resources {
		all := make([]snapshot.Resource, 0, len(byName))
		for _, r := range byName {
			all = append(all, r)
		}
		slices.SortFunc(all, func(x, y snapshot.Resource) int { return cmp.Compare(x.Name, y.Name) })
		out.Resources[t] = all
	}
	for ref, s := range a.policies {
		out.Policies = append(out.Policies, snapshot.Policy{Ref: ref, Seal: a.seal(ref), Spec: s.Spec})
		maps.Copy(a.data, s.Data)
	}
	slices.SortFunc(out.Policies, func(x, y snapshot.Policy) int { return cmp.Compare(x.Ref, y.Ref) })
	return out
}

func (a *assembly) seal(ref string) string {
	seal, known := a.sealed[ref]
	if !known {
		seal = a.builder.Seal(ref)
	}
	a.seals[ref] = seal
	return seal
}

func (a *assembly) routeConfig(name string, hosts map[string][]*envoy.Entry) snapshot.Resource {
	if old, ok := a.prev[name]; ok && sameHosts(old.hosts, hosts) {
		a.configs[name] = old
		return old.result
	}
	all := make([]envoy.VirtualHost, 0, len(hosts))
	for domain, entries := range hosts {
		all = append(all, envoy.VirtualHost{Domain: domain, Entries: entries})
	}
	result := envoy.RouteConfig(name, all)
	a.configs[name] = builtConfig{hosts: hosts, result: result}
	return result
}

func sameHosts(a, b map[string][]*envoy.Entry) bool {
	if len(a) != len(b) {
		return false
	}
	for domain, entries := range a {
		if other, ok := b[domain]; !ok || !slices.Equal(entries, other) {
			return false
		}
	}
	return true
}
