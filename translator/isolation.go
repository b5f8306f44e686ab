package translator

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// claims names the listeners among which a request's Host decides: those of one protocol and socket.
func claims(l *gatewayapi.Listener) string {
	if l.TLS {
		return "https/" + l.Socket()
	}
	return "http/" + l.Socket()
}

// isolate keeps requests for a listener's hostname from falling to a wider listener of the same socket
// where none of its own routes matches (Gateway API, "listener isolation"). A request whose connection
// was made for one HTTPS listener and whose Host is another's is answered 421, upon which a browser
// makes a connection of its own (RFC 9110 section 15.5.20; GEP-3567).
func (a *assembly) isolate(l *gatewayapi.Listener) {
	claimed := a.claimed[claims(l)]
	if len(claimed) < 2 {
		return
	}
	table := a.tables[l.RouteConfig()]
	for _, hostname := range claimed {
		domain := hostname
		if domain == "" {
			domain = "*"
		}
		switch {
		case table.Has(domain):
		case l.TLS && hostname != l.Hostname:
			table.Add(domain, envoy.Misdirected())
		case hostname != "":
			table.Declare(domain)
		}
	}
}

// isolated reports whether a host belongs to a listener of the same socket with a narrower hostname than
// l's. A route that both listeners take is then served below that one alone: its policies would
// otherwise be passed by through l. A listener that has a fault keeps its hostname all the same.
func (a *assembly) isolated(l *gatewayapi.Listener, host string) bool {
	return slices.ContainsFunc(a.claimed[claims(l)], func(other string) bool {
		return gatewayapi.Narrower(other, l.Hostname) && gatewayapi.Covers(other, host)
	})
}

// overlap tells of HTTPS listeners of one socket whose hostnames have hosts in common: a browser may send
// requests for one over a connection to the other, and is answered 421 then (ListenerCondition
// OverlappingTLSConfig).
func (a *assembly) overlap(listeners []*gatewayapi.Listener) {
	for _, l := range listeners {
		var others []string
		for _, o := range listeners {
			if o != l && l.TLS && (gatewayapi.Covers(l.Hostname, o.Hostname) || gatewayapi.Covers(o.Hostname, l.Hostname)) {
				others = append(others, fmt.Sprintf("listener %s of %s", o.Name, o.Key()))
			}
		}
		if len(others) == 0 {
			continue
		}
		slices.Sort(others)
		a.conditions = append(a.conditions, status.Condition{
			Object: l.Key(), Ancestor: l.Name, Type: string(gatewayv1.ListenerConditionOverlappingTLSConfig), True: true,
			Reason:  string(gatewayv1.ListenerReasonOverlappingHostnames),
			Message: "has hosts in common with " + strings.Join(others, ", ") + "; the narrowest hostname takes a request",
		})
	}
}
