package explain

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// Explain says what the gateway does with a request. The error wraps ErrRequest.
func (g *Gateway) Explain(ctx context.Context, r *Request) (*Explanation, error) {
	request, portGiven, err := r.parse()
	if err != nil {
		return nil, err
	}
	out := &Explanation{}
	if !portGiven {
		out.note(g.otherPort(request))
	}
	out.Request = RequestFacts{
		Method: request.Method, Scheme: map[bool]string{true: "https", false: "http"}[request.TLS],
		Authority: request.Authority, Path: withoutQuery(request.Path),
	}
	match, err := g.table.Match(request)
	if errors.Is(err, routing.ErrNoListener) {
		out.Request.Client = request.Peer.String()
		out.Verdict = Verdict{Outcome: Refused, By: "the gateway", Reason: err.Error()}
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.Request.Path = withoutQuery(match.Path)
	if match.Chain.Manager.GetStripTrailingHostDot() {
		request.Authority = withoutDot(request.Authority)
		out.Request.Authority = request.Authority
	}
	if match.Client.IsValid() {
		out.Request.Client = match.Client.String()
	}
	if why := r.reset(request.Header); why != "" {
		out.Verdict = Verdict{Outcome: Refused, By: "the connection manager", Reason: why}
		return out, nil
	}
	g.follow(ctx, r, request, match, out)
	if out.Verdict.Outcome == Forwarded && len(out.Processors)+len(out.Filters) > 0 {
		out.note("forwarded unless one of those objects that weren't asked or played")
	}
	overGRPC(match, &out.Verdict)
	return out, nil
}

// Resolve reads a request and finds the address of the listener that takes it. The error wraps ErrRequest
// or [routing.ErrNoListener].
func (g *Gateway) Resolve(r *Request) (*routing.Request, netip.AddrPort, error) {
	request, portGiven, err := r.parse()
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	if !portGiven {
		g.otherPort(request)
	}
	match, err := g.table.Match(request)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	return request, match.Socket.Address, nil
}

func (e *Explanation) note(text string) {
	if text != "" {
		e.Notes = append(e.Notes, text)
	}
}

func withoutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}

// otherPort sends a request whose URL names no port to the only port that speaks its scheme, if none
// listens on the scheme's own.
func (g *Gateway) otherPort(r *routing.Request) (note string) {
	var ports []uint16
	for _, s := range g.table.Sockets {
		serves := slices.ContainsFunc(s.Chains, func(c *routing.Chain) bool { return c.Manager != nil && c.TLS == r.TLS })
		if serves && !s.UDP {
			ports = append(ports, s.Address.Port())
		}
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	if len(ports) != 1 || ports[0] == r.Port {
		return ""
	}
	note = fmt.Sprintf("nothing listens on port %d; port %d is taken, the only one of this scheme", r.Port, ports[0])
	r.Port = ports[0]
	return note
}

// follow goes the way of the request until somebody answers.
func (g *Gateway) follow(ctx context.Context, r *Request, request *routing.Request, match *routing.Match, out *Explanation) {
	if match.Status != 0 {
		out.Verdict = Verdict{Outcome: Answered, Status: match.Status, By: "the connection manager", Reason: match.Why}
		if match.Status == http.StatusTemporaryRedirect {
			out.Verdict.Location = match.Path
		}
		return
	}
	host := ""
	if match.Host != nil {
		out.Host = match.Host.Domain
		host = strings.ToLower(withoutPort(request.Authority))
	}
	out.Listener = g.listenerOf(match.Socket, match.Chain, host)
	if match.Route == nil {
		reason := "no route has the host " + request.Authority
		if match.Host != nil {
			reason = "no route of this host matches"
		}
		out.Verdict = Verdict{Outcome: Answered, Status: http.StatusNotFound, By: "the gateway", Reason: reason}
		return
	}
	out.Route = g.routeOf(match.Route)
	w := wayOf(match.Chain.Manager, match.Route.Route)
	match.Header = w.withoutForged(match.Header)
	out.Policies = g.policies(out.Route, out.Listener, g.loaded[w.ref].Spec)
	out.Processors = w.processors
	out.Filters = slices.DeleteFunc(slices.Clone(w.filters), func(name string) bool { return name == login || name == forgeries })
	if match.Route.GetRoute() != nil && !out.Route.Preflight {
		g.backends(match.Route, out)
	}
	if preflight(request, w, out) {
		return
	}
	if w.login != nil {
		answered, state := loggedIn(request, match, w.login, out)
		if answered {
			crossOrigin(request, w, match, &out.Verdict)
			return
		}
		if state == unverified {
			out.Filters = append(out.Filters, login)
			out.note("the session in the cookies isn't verified here; without a valid one the client is sent to log in (302)")
		}
	}
	if w.ref != "" && !g.decide(ctx, r, request, match, w, out) {
		return
	}
	if forgery(request, match.Header, w.csrf, out) {
		crossOrigin(request, w, match, &out.Verdict)
		return
	}
	g.act(match.Route, w, out)
	if out.Verdict.Outcome == Answered && out.Verdict.Status >= http.StatusInternalServerError {
		g.blame(out)
	}
	if match.Route.GetRedirect() != nil {
		out.Verdict.Location = location(request, match.Path, match.Route)
	}
	if out.Verdict.Outcome == Forwarded {
		out.Upstream = upstream(request.Authority, match, &out.Verdict)
		delete(out.Verdict.RequestHeaders, pathKey) // its query may hold a credential
		if path := withoutQuery(out.Upstream.Get(pathKey)); path != out.Request.Path {
			out.Verdict.Path = path
		}
		if host := out.Upstream.Get(authorityKey); host != request.Authority {
			out.Verdict.Host = host
		}
	}
	crossOrigin(request, w, match, &out.Verdict)
}

// blame says what is wrong with the route's rule, for an answer that it gives by itself because of it.
func (g *Gateway) blame(out *Explanation) {
	for _, c := range g.faults {
		o, r := c.Object, out.Route
		if o.Kind == r.Kind && o.Namespace == r.Namespace && o.Name == r.Name && (c.Rule == 0 || c.Rule-1 == r.Rule) && !slices.Contains(out.Notes, c.Message) {
			out.note(c.Message)
		}
	}
}

func withoutPort(authority string) string {
	if at := strings.LastIndexByte(authority, ':'); at > 0 && !strings.HasSuffix(authority, "]") {
		return authority[:at]
	}
	return authority
}

// overGRPC is Envoy's form of an answer of its own to a gRPC client (Grpc::Utility::httpToGrpcStatus).
func overGRPC(match *routing.Match, v *Verdict) {
	if v.Status == 0 || v.Outcome == Forwarded || match.Status == http.StatusBadRequest || v.By == byLogin && v.Status == http.StatusFound {
		return
	}
	kind := ""
	for _, f := range match.Header {
		if strings.EqualFold(f.Name, "content-type") {
			kind = f.Value
		}
	}
	if kind != "application/grpc" && !strings.HasPrefix(kind, "application/grpc+") {
		return
	}
	code := map[int]int{400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
	status, known := code[v.Status]
	switch {
	case match.Status == http.StatusTemporaryRedirect: // no gRPC client follows it, so Envoy refuses the path
		status, v.Location = 13, ""
	case !known:
		status = 2
	}
	v.Status, v.GRPCStatus = http.StatusOK, &status
	if v.ResponseHeaders["content-type"] != "" {
		v.ResponseHeaders["content-type"] = "application/grpc"
	}
}
