package explain

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// DefaultRule is the name of spec.authorization.defaultAction among rules.
const DefaultRule = "defaultAction"

// decide runs the route's security policy. false: it has answered.
func (g *Gateway) decide(ctx context.Context, r *Request, request *routing.Request, match *routing.Match, w *way, out *Explanation) bool {
	compiled := g.policy(w.ref)
	if compiled == nil {
		out.Verdict = Verdict{Outcome: Denied, Status: http.StatusServiceUnavailable, By: "the authorizer", Reason: "unknown policy " + w.ref}
		return false
	}
	out.Request.Location = locationOf(compiled.Place(match.Client))
	rule, decided := "", false
	ctx = policy.ObserveRule(ctx, func(name string) { rule, decided = name, true })
	var authorizer exchange.Authorizer = compiled
	if g.over != nil {
		authorizer = g.over(compiled)
	}
	verdict, err := authorizer.Check(ctx, checked(r, request, match, w))
	by := "SecurityPolicy " + compiled.Name()
	if err != nil {
		out.Verdict = Verdict{Outcome: Denied, Status: http.StatusServiceUnavailable, By: by, Reason: "the engine failed"}
		return false
	}
	out.Verdict = Verdict{By: by, Reason: verdict.Reason, DryRun: strings.HasPrefix(verdict.Reason, policy.DryRunPrefix)}
	if decided {
		out.Verdict.Rule = compiled.Name() + "#" + cmp.Or(rule, DefaultRule)
	}
	if fault := compiled.Fault(); fault != "" {
		out.Verdict.Reason += ": " + fault
	}
	if verdict.Allow {
		out.Verdict.RequestHeaders = fieldMap(append(slices.Clone(verdict.Set), verdict.Add...))
		out.Verdict.RemovedHeaders = verdict.Remove
		out.Verdict.ResponseHeaders = fieldMap(verdict.ResponseSet)
		return true
	}
	reply := verdict.Reply
	if reply == nil {
		reply = exchange.Deny(http.StatusForbidden, "")
	}
	out.Verdict.Outcome, out.Verdict.Status = Denied, reply.Status()
	if verdict.Reason == policy.ReasonPreflight {
		out.Verdict.Outcome = Answered
	}
	out.Verdict.ResponseHeaders = map[string]string{}
	for name, values := range reply.Header {
		out.Verdict.ResponseHeaders[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	crossOrigin(request, w, match, &out.Verdict)
	return false
}

func fieldMap(fields []exchange.Field) map[string]string {
	if len(fields) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, f := range fields {
		out[strings.ToLower(f.Name)] = f.Value
	}
	return out
}

// checked is the request as Envoy shows it to the authorizer.
func checked(r *Request, request *routing.Request, match *routing.Match, w *way) *exchange.Request {
	body := exchange.BufferedBody(nil, false)
	switch {
	case w.streams:
		body = exchange.BufferedBody(r.Body, false)
	case w.buffer != nil:
		shown := r.Body[:min(len(r.Body), int(w.buffer.GetMaxRequestBytes()))]
		body = exchange.BufferedBody(shown, len(shown) < len(r.Body))
	case len(r.Body) > 0:
		body = exchange.Body{} // the filter buffers none
	}
	scheme := "http"
	if request.TLS {
		scheme = "https"
	}
	head := exchange.Head{
		Method: request.Method, Authority: request.Authority, Scheme: scheme, Path: match.Path,
		Protocol: r.protocol(), Size: int64(len(r.Body)), Time: time.Now(),
	}
	conn := exchange.Conn{Peer: netip.AddrPortFrom(request.Peer.Unmap(), 0), Destination: match.Socket.Address, Client: match.Client}
	return exchange.NewRequest(head, conn, exchange.NewHeader(slices.Clone(match.Header)...), body, extensions(w.extensions))
}

// extensions are a route's context extensions.
type extensions map[string]string

// Extension implements [exchange.Extensions].
func (e extensions) Extension(key string) (string, bool) {
	value, ok := e[key]
	return value, ok
}

// Extensions implements [exchange.Extensions].
func (e extensions) Extensions(yield func(key, value string) bool) {
	for key, value := range e {
		if !yield(key, value) {
			return
		}
	}
}

// act is the route's action, for a request that nothing has stopped before.
func (g *Gateway) act(r *routing.Route, w *way, out *Explanation) {
	v := &out.Verdict
	if w.ref == "" {
		v.By, v.Reason = "the route", "no security policy objects"
	}
	answer := func(status int, reason string) {
		v.Outcome, v.Status, v.By, v.Reason = Answered, status, "the route", reason
	}
	switch {
	case w.nobody:
		answer(http.StatusForbidden, "the CORS filter doesn't allow this preflight")
		v.Outcome = Denied
		return
	case r.GetDirectResponse() != nil:
		answer(int(r.GetDirectResponse().GetStatus()), "the route answers by itself")
		return
	case r.GetRedirect() != nil:
		answer(redirectStatus[r.GetRedirect().GetResponseCode()], "redirect")
		return
	}
	v.Outcome = Forwarded
	faults := 0
	for _, b := range out.Backends {
		if b.Fault != "" {
			faults++
		}
	}
	if faults == 0 {
		return
	}
	if faults < len(out.Backends) {
		out.note("a part of the requests is answered by a backend's fault")
		return
	}
	status := http.StatusInternalServerError
	if out.Backends[0].Fault == noEndpoints {
		status = http.StatusServiceUnavailable
	}
	answer(status, out.Backends[0].Fault)
}

var redirectStatus = map[route.RedirectAction_RedirectResponseCode]int{
	route.RedirectAction_MOVED_PERMANENTLY: 301, route.RedirectAction_FOUND: 302, route.RedirectAction_SEE_OTHER: 303,
	route.RedirectAction_TEMPORARY_REDIRECT: 307, route.RedirectAction_PERMANENT_REDIRECT: 308,
}

const (
	noBackend   = "the backend reference is faulty"
	noEndpoints = "the backend has no endpoints"
)

// backends lists where the route sends requests; those of no weight get none.
func (g *Gateway) backends(r *routing.Route, out *Explanation) {
	add := func(cluster string, weight uint32) {
		b := Backend{Name: g.backendName(out.Route, cluster), Weight: weight}
		endpoints, exists := g.table.Endpoints(cluster)
		b.Endpoints = endpoints
		switch {
		case !exists:
			b.Fault = noBackend
		case len(endpoints) == 0:
			b.Fault = noEndpoints
		}
		out.Backends = append(out.Backends, b)
	}
	action := r.GetRoute()
	if name := action.GetCluster(); name != "" {
		add(name, 0)
		return
	}
	for _, c := range action.GetWeightedClusters().GetClusters() {
		if c.GetWeight().GetValue() > 0 {
			add(c.GetName(), c.GetWeight().GetValue())
		}
	}
	if len(out.Backends) == 0 {
		out.Backends = []Backend{{Name: fmt.Sprintf("%T", action.GetClusterSpecifier())}}
	}
}
