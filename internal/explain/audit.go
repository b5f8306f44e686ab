package explain

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// Path is one way by which requests, or connections, reach a backend.
type Path struct {
	// Listener is nil for a socket that no listener of an object stands for.
	Listener *Listener `json:"listener,omitempty"`
	Address  string    `json:"address"`
	Protocol string    `json:"protocol"` // HTTP, HTTPS, TCP, TLS or UDP
	// Host is the domain, or the server names of a TLS connection; "*" is any.
	Host     string   `json:"host"`
	Route    *Route   `json:"route,omitempty"`
	Policies []Policy `json:"policies,omitempty"`
	// Enforced is everything that can object, in order.
	Enforced []string `json:"enforced,omitempty"`
	// Authentication lists what asks who is calling; none: anybody gets through as far as that goes.
	Authentication []string    `json:"authentication,omitempty"`
	Processors     []Processor `json:"processors,omitempty"`
	Filters        []string    `json:"filters,omitempty"`
	Backends       []Backend   `json:"backends"`
}

// Protected reports whether something asks who is calling.
func (p *Path) Protected() bool { return len(p.Authentication) > 0 }

// Audit lists every way to a backend, by address, host and order of the routes. Rules that answer by
// themselves are none.
func (g *Gateway) Audit() []Path {
	var all []Path
	for _, socket := range g.table.Sockets {
		if len(socket.Clusters) > 0 {
			all = append(all, g.datagrams(socket))
		}
		for _, chain := range socket.Chains {
			if chain.Manager == nil {
				all = append(all, g.connections(socket, chain)...)
				continue
			}
			for _, host := range chain.Hosts {
				for _, route := range host.Routes {
					if path, reaches := g.path(socket, chain, host, route); reaches {
						all = append(all, path)
					}
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Path) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Host, b.Host))
	})
	return all
}

func (g *Gateway) path(socket *routing.Socket, chain *routing.Chain, host *routing.Host, route *routing.Route) (Path, bool) {
	if route.GetRoute() == nil {
		return Path{}, false
	}
	w := wayOf(chain.Manager, route.Route)
	e := &Explanation{Route: g.routeOf(route)}
	g.backends(route, e)
	live := slices.DeleteFunc(slices.Clone(e.Backends), func(b Backend) bool { return b.Fault == noBackend })
	for _, mirror := range route.GetRoute().GetRequestMirrorPolicies() {
		live = append(live, g.clusterBackends([]string{mirror.GetCluster()})...)
	}
	if w.nobody || len(live) == 0 {
		return Path{}, false
	}
	out := Path{
		Listener: g.listenerOf(socket, chain, strings.ToLower(host.Domain)), Address: socket.Address.String(), Protocol: "HTTP",
		Host: host.Domain, Route: e.Route, Processors: w.processors, Filters: w.filters, Backends: live,
	}
	if chain.TLS {
		out.Protocol = "HTTPS"
	}
	spec := g.loaded[w.ref].Spec
	out.Policies = g.policies(e.Route, out.Listener, spec)
	out.protect(chain, w, spec)
	return out, true
}

// protect says what the way asks of a request, in the order in which it asks.
func (p *Path) protect(chain *routing.Chain, w *way, spec *config.Policy) {
	if chain.ClientCertificate {
		p.authenticated("client certificate")
	}
	filters := slices.Clone(w.filters)
	if at := slices.Index(filters, login); at >= 0 {
		filters = slices.Delete(filters, at, at+1)
		p.authenticated(login)
	}
	if spec != nil {
		p.Enforced = append(p.Enforced, Enforces(spec)...)
		if Authenticates(spec) {
			p.Authentication = append(p.Authentication, "SecurityPolicy "+spec.Name)
		}
	}
	for _, processor := range w.processors {
		if processor.Type == "ext_authz" {
			p.authenticated(processor.String())
		} else {
			p.Enforced = append(p.Enforced, processor.String())
		}
	}
	p.Enforced = append(p.Enforced, filters...)
}

func (p *Path) authenticated(by string) {
	p.Enforced = append(p.Enforced, by)
	p.Authentication = append(p.Authentication, by)
}

// connections are the ways of a chain that isn't HTTP.
func (g *Gateway) connections(socket *routing.Socket, chain *routing.Chain) []Path {
	if len(chain.Clusters) == 0 {
		return nil
	}
	out := Path{
		Listener: g.listenerOf(socket, chain, ""), Address: socket.Address.String(), Protocol: "TCP",
		Host: cmp.Or(strings.Join(chain.ServerNames, ", "), "*"), Filters: chain.NetworkFilters, Enforced: chain.NetworkFilters,
		Backends: g.clusterBackends(chain.Clusters),
	}
	if chain.TLS || len(chain.ServerNames) > 0 {
		out.Protocol = "TLS"
	}
	if chain.ClientCertificate {
		out.authenticated("client certificate")
	}
	return []Path{out}
}

func (g *Gateway) datagrams(socket *routing.Socket) Path {
	return Path{
		Listener: g.listenerOf(socket, &routing.Chain{}, ""), Address: socket.Address.String(), Protocol: "UDP",
		Host: "*", Backends: g.clusterBackends(socket.Clusters),
	}
}

func (g *Gateway) clusterBackends(clusters []string) []Backend {
	all := make([]Backend, 0, len(clusters))
	for _, name := range clusters {
		endpoints, _ := g.table.Endpoints(name)
		all = append(all, Backend{Name: name, Endpoints: endpoints})
	}
	return all
}

// Paths writes an audit for people: a line for each way.
func Paths(w io.Writer, paths []Path) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "LISTENER\tHOST\tMATCH\tROUTE\tPOLICIES\tENFORCED\tBACKENDS")
	for i := range paths {
		p := &paths[i]
		listener, match, route := p.Protocol+" "+p.Address, "every connection", "-"
		if l := p.Listener; l != nil {
			listener = fmt.Sprintf("%s/%s/%s %s", l.Namespace, l.Name, l.Listener, listener)
		}
		if p.Route != nil {
			match = p.Route.Match
			route = fmt.Sprintf("%s/%s rule %d", p.Route.Namespace, p.Route.Name, p.Route.Rule)
		}
		backends := make([]string, len(p.Backends))
		for i, b := range p.Backends {
			backends[i] = b.Name
		}
		enforced := cmp.Or(strings.Join(p.Enforced, "; "), "nothing")
		if !p.Protected() {
			enforced += " (no authentication)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", listener, p.Host, match, route, inForce(p.Policies), enforced, strings.Join(backends, ", "))
	}
	return table.Flush()
}

// inForce names the policies that apply.
func inForce(policies []Policy) string {
	var names []string
	for _, p := range policies {
		if p.InForce {
			names = append(names, fmt.Sprintf("%s %s/%s", p.Kind, p.Namespace, p.Name))
		}
	}
	return cmp.Or(strings.Join(names, ", "), "none")
}
