package translator

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// assembly puts the pieces of a translation together, and takes them apart again where they change. What
// one route contributes costs as much as that route; a change of a Gateway puts everything together anew.
type assembly struct {
	builder  *envoy.Builder
	gateways map[memo.Key]*gatewayapi.Gateway
	units    map[memo.Key]*unit
	stale    bool // a Gateway is another one than what follows was made for
	bound
}

// bound is an assembly for certain Gateways.
type bound struct {
	listeners  []*gatewayapi.Listener
	serving    map[*gatewayapi.Listener]bool
	sockets    map[string][]*gatewayapi.Listener
	claimed    map[string][]string // protocol and socket → hostnames of its listeners
	attached   map[listenerName]int
	tables     map[string]*envoy.RouteTable // by RouteConfiguration
	resources  map[snapshot.Type]*shelf[snapshot.Resource]
	policies   *shelf[snapshot.Policy]
	providers  *shelf[Provider]
	conditions []status.Condition // of the listeners together
}

func newAssembly(b *envoy.Builder) *assembly {
	return &assembly{builder: b, gateways: map[memo.Key]*gatewayapi.Gateway{}, units: map[memo.Key]*unit{}, stale: true}
}

func newBound() bound {
	b := bound{
		serving: map[*gatewayapi.Listener]bool{}, sockets: map[string][]*gatewayapi.Listener{}, claimed: map[string][]string{},
		attached: map[listenerName]int{}, tables: map[string]*envoy.RouteTable{},
		resources: map[snapshot.Type]*shelf[snapshot.Resource]{},
		policies:  newShelf(func(p snapshot.Policy) string { return p.Ref }),
		providers: newShelf(func(p Provider) string { return p.Issuer + " " + p.Policy }),
	}
	for _, t := range snapshot.Types() {
		b.resources[t] = newShelf(func(r snapshot.Resource) string { return r.Name })
	}
	return b
}

// gateway takes another state of a Gateway; nil is one that is gone.
func (a *assembly) gateway(key memo.Key, g *gatewayapi.Gateway) {
	a.stale = true
	if g == nil {
		delete(a.gateways, key)
		return
	}
	a.gateways[key] = g
}

// unit takes another state of what a route contributes; nil is a route that is gone.
func (a *assembly) unit(key memo.Key, u *unit) {
	old := a.units[key]
	if u == nil {
		delete(a.units, key)
	} else {
		a.units[key] = u
	}
	if a.stale {
		return
	}
	if old != nil {
		a.remove(old)
	}
	if u != nil {
		a.add(u)
	}
}

// settle puts everything together anew if a Gateway has changed.
func (a *assembly) settle() {
	if !a.stale {
		return
	}
	a.stale, a.bound = false, newBound()
	for _, g := range a.gateways {
		a.listeners = append(a.listeners, g.Listeners...)
	}
	a.bind()
	for _, u := range a.units {
		a.add(u)
	}
}

// bind decides which listeners serve. Those of one socket share it by hostname; of two that can't, the
// older one wins, then the lesser by namespace and name.
func (a *assembly) bind() {
	slices.SortStableFunc(a.listeners, func(x, y *gatewayapi.Listener) int {
		return cmp.Or(cmp.Compare(x.Created, y.Created), cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Gateway, y.Gateway))
	})
	for _, l := range a.listeners {
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
	for _, socket := range slices.Sorted(maps.Keys(a.sockets)) {
		a.open(a.sockets[socket])
	}
}

// open makes what the listeners of a socket need, with or without routes.
func (a *assembly) open(listeners []*gatewayapi.Listener) {
	a.resources[snapshot.Listener].put(a.builder.Listener(listeners))
	a.overlap(listeners)
	for _, l := range listeners {
		if a.tables[l.RouteConfig()] == nil {
			a.tables[l.RouteConfig()] = envoy.NewRouteTable(l.RouteConfig())
		}
		a.isolate(l)
		for _, c := range l.Certificates {
			a.resources[snapshot.Secret].put(envoy.Secret(c))
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

// add puts a route's contribution in its places.
func (a *assembly) add(u *unit) {
	a.attach(u, 1)
	if !a.place(u, (*envoy.RouteTable).Add) {
		return
	}
	for _, r := range u.clusters {
		a.resources[snapshot.Cluster].put(r)
	}
	for _, r := range u.endpoints {
		a.resources[snapshot.Endpoint].put(r)
	}
	for _, r := range u.secrets {
		a.resources[snapshot.Secret].put(r)
	}
	for _, s := range u.security {
		a.policies.put(a.sealed(s))
		if s.Issuer != "" {
			a.providers.put(provider(s))
		}
	}
}

// remove takes away what add has put.
func (a *assembly) remove(u *unit) {
	a.attach(u, -1)
	if !a.place(u, (*envoy.RouteTable).Remove) {
		return
	}
	for _, r := range u.clusters {
		a.resources[snapshot.Cluster].drop(r.Name)
	}
	for _, r := range u.endpoints {
		a.resources[snapshot.Endpoint].drop(r.Name)
	}
	for _, r := range u.secrets {
		a.resources[snapshot.Secret].drop(r.Name)
	}
	for _, s := range u.security {
		a.policies.drop(s.Ref)
		if s.Issuer != "" {
			a.providers.drop(a.providers.name(provider(s)))
		}
	}
}

// place puts a unit's entries into the tables or takes them away, and reports whether a listener of the
// route serves.
func (a *assembly) place(u *unit, change func(table *envoy.RouteTable, domain string, entries ...*envoy.Entry)) bool {
	used := false
	placed := map[[2]string]bool{} // an HTTPS listener has one configuration for all its addresses
	for _, p := range u.placements {
		if !a.serving[p.listener] {
			continue
		}
		used = true
		config := p.listener.RouteConfig()
		for _, h := range p.hostnames {
			at := [2]string{config, h}
			if placed[at] && p.listener.TLS || a.isolated(p.listener, h) {
				continue
			}
			placed[at] = true
			change(a.tables[config], h, p.entries...)
		}
	}
	return used
}

func (a *assembly) sealed(s *policy.Security) snapshot.Policy {
	return snapshot.Policy{Ref: s.Ref, Seal: a.builder.Seal(s.Ref), Spec: s.Spec, Data: s.Data}
}

func (a *assembly) snapshot() *snapshot.Snapshot {
	out := &snapshot.Snapshot{Resources: map[snapshot.Type][]snapshot.Resource{}, Policies: a.policies.all()}
	for t, shelf := range a.resources {
		out.Resources[t] = shelf.all()
	}
	configs := make([]snapshot.Resource, 0, len(a.tables))
	for _, name := range slices.Sorted(maps.Keys(a.tables)) {
		configs = append(configs, a.tables[name].Resource())
	}
	out.Resources[snapshot.Route] = configs
	return out
}
