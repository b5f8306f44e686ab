package standalone

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/xds"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// What a running gateway has learnt, as conditions of the objects that it is about.

func runtimeFacts(result *translator.Result, faults map[string]error, refusals []agent.Refusal, rejections []xds.Rejection, keySets []jwt.State) []status.Condition {
	all := PolicyFaults(faults)
	for _, r := range refusals {
		all = append(all, Refused(r.Route, r.Words)...)
	}
	for _, r := range rejections {
		all = append(all, rejected(result, r)...)
	}
	return append(all, keySetFacts(result.Snapshot, keySets)...)
}

// PolicyFaults are the conditions of policies that can't be enforced. faults is what [agent.Agent.Apply]
// returns.
func PolicyFaults(faults map[string]error) []status.Condition {
	var all []status.Condition
	for _, err := range faults {
		fault, ok := errors.AsType[*agent.PolicyError](err)
		if !ok {
			continue
		}
		all = append(all, status.Condition{
			Object: securityPolicy(fault.Policy), Type: "Accepted", Reason: "Invalid", Message: specField(fault.Message),
		})
	}
	return all
}

// securityPolicy is the key of namespace/name.
func securityPolicy(name string) resource.Key {
	namespace, name, _ := strings.Cut(name, "/")
	return resource.Key{Kind: "SecurityPolicy", Namespace: namespace, Name: name}
}

// Refused is the condition of the object that a name in Envoy's configuration stems from, when Envoy
// refuses what has that name: a route or cluster such as httproute/ns/name/rule/0. None for a name that
// no object gave.
func Refused(name, words string) []status.Condition {
	parts := strings.Split(name, "/")
	if len(parts) < 3 {
		return nil
	}
	kind, ok := map[string]string{
		"httproute": "HTTPRoute", "grpcroute": "GRPCRoute", "securitypolicy": "SecurityPolicy", "envoyextensionpolicy": "EnvoyExtensionPolicy",
	}[parts[0]]
	if !ok {
		return nil
	}
	c := status.Condition{
		Object: resource.Key{Kind: kind, Namespace: parts[1], Name: parts[2]}, Type: "Accepted", Reason: "Invalid",
		Message: "Envoy refuses it: " + oneLine(words),
	}
	if len(parts) >= 5 && parts[3] == "rule" {
		if i, err := strconv.Atoi(parts[4]); err == nil {
			c.Rule, c.Reason = i+1, "UnsupportedValue"
			c.Message = fmt.Sprintf("Envoy refuses rules[%d], which answers 503; change or remove it: %s", i, oneLine(words))
		}
	}
	return []status.Condition{c}
}

// rejected tells of a resource that Envoy refused as a whole. Nothing of it is in force: what Envoy took
// earlier goes on. Routes that are to blame for a refused RouteConfiguration are found soon after, and it
// is sent without them.
func rejected(result *translator.Result, r xds.Rejection) []status.Condition {
	switch r.Type {
	case snapshot.Listener:
		return listenersFault(result.Listeners, r.Message, "Envoy refuses the listener", func(l status.Listener) bool {
			return slices.Contains(l.Sockets, strings.TrimPrefix(r.Name, "listener/"))
		})
	case snapshot.Route:
		return listenersFault(result.Listeners, r.Message, "Envoy refuses its routes, the last good ones serve", func(l status.Listener) bool {
			return slices.Contains(l.RouteConfigs, r.Name)
		})
	case snapshot.Cluster, snapshot.Endpoint:
		return Refused(r.Name, r.Message)
	}
	return nil
}

func listenersFault(listeners []status.Listener, words, what string, concerns func(status.Listener) bool) []status.Condition {
	var all []status.Condition
	for _, l := range listeners {
		if concerns(l) {
			all = append(all, status.Condition{
				Object: l.Gateway, Ancestor: l.Name, Type: "Programmed", Reason: "Invalid", Message: what + ": " + oneLine(words),
			})
		}
	}
	return all
}

// unplaced describes rejections that concern no object that is known.
func unplaced(result *translator.Result, rejections []xds.Rejection) []string {
	var all []string
	for _, r := range rejections {
		if len(rejected(result, r)) == 0 {
			all = append(all, fmt.Sprintf("Envoy refuses %s %s: %s", r.Type, r.Name, oneLine(r.Message)))
		}
	}
	slices.Sort(all)
	return all
}

// unbound tells of listeners whose address can't be bound, with the remedy.
func unbound(listeners []status.Listener, withheld map[string]error) []status.Condition {
	var all []status.Condition
	for _, l := range listeners {
		for _, socket := range l.Sockets {
			if err := withheld[socket]; err != nil {
				all = append(all,
					status.Condition{
						Object: l.Gateway, Ancestor: l.Name, Type: "Accepted", Reason: "PortUnavailable",
						Message: err.Error() + "; it is tried again every second",
					},
					status.Condition{Object: l.Gateway, Ancestor: l.Name, Type: "Programmed", Reason: "Invalid", Message: "not served, see Accepted"})
			}
		}
	}
	return all
}

// programmed tells of the listeners that Envoy has taken. One that it was told of and hasn't answered for is
// left pending.
func programmed(listeners []status.Listener, facts []status.Condition, inForce bool) []status.Condition {
	if !inForce {
		return nil
	}
	var all []status.Condition
	for _, l := range listeners {
		refused := slices.ContainsFunc(facts, func(c status.Condition) bool {
			return c.Object == l.Gateway && c.Ancestor == l.Name && c.Type == "Programmed"
		})
		if len(l.Sockets) > 0 && !refused {
			all = append(all, status.Condition{Object: l.Gateway, Ancestor: l.Name, Type: "Programmed", True: true, Reason: "Programmed"})
		}
	}
	return all
}

// keySetFacts tells of remote key sets that can't be fetched, at the policies that use them.
func keySetFacts(snap *snapshot.Snapshot, keySets []jwt.State) []status.Condition {
	states := map[string]jwt.State{}
	for _, s := range keySets {
		states[s.URI] = s
	}
	var all []status.Condition
	for _, p := range snap.Policies {
		if p.Spec.JWT == nil {
			continue
		}
		for _, provider := range p.Spec.JWT.Providers {
			if provider.RemoteJWKS == nil {
				continue
			}
			if state, ok := states[provider.RemoteJWKS.URI]; ok {
				all = append(all, keySetFact(securityPolicy(p.Spec.Name), provider.Name, state)...)
			}
		}
	}
	return all
}

func keySetFact(policy resource.Key, provider string, s jwt.State) []status.Condition {
	switch {
	case s.LastError == "":
		return []status.Condition{{
			Object: policy, Type: "ResolvedRefs", True: true, Reason: "ResolvedRefs",
			Message: fmt.Sprintf("provider %s has %d keys of %s", provider, s.Keys, s.Shown()),
		}}
	case s.Keys == 0:
		return []status.Condition{{
			Object: policy, Type: "ResolvedRefs", Reason: "JWKSUnavailable",
			Message: fmt.Sprintf("provider %s has no keys, its tokens are answered 503: %s: %s; make it reachable or correct the URI, it is fetched again and again", provider, s.Shown(), oneLine(s.LastError)),
		}}
	}
	return []status.Condition{{
		Object: policy, Type: "Warning", True: true, Reason: "JWKSStale",
		Message: fmt.Sprintf("provider %s goes on until maxStale with the %d keys of an earlier fetch, %s: %s: %s; make it reachable, it is fetched again and again",
			provider, s.Keys, s.LastSuccess.UTC().Format(time.RFC3339), s.Shown(), oneLine(s.LastError)),
	}}
}
