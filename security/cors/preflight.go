package cors

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// preflightVary names everything a preflight's answer depends on.
const preflightVary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"

// IsPreflight reports whether the request is a CORS preflight: OPTIONS with Origin and
// Access-Control-Request-Method. Any other OPTIONS is a request like all others (S37).
func IsPreflight(r *exchange.Request) bool {
	return r.Method() == http.MethodOptions && r.Header.Has("origin") && r.Header.Has("access-control-request-method")
}

// Preflight answers a request for which [IsPreflight] is true: allowed with 204 and the CORS headers,
// or refused with 403 and none of them.
func (p *Policy) Preflight(r *exchange.Request) (reply *exchange.Reply, allowed bool) {
	origin := p.Origin(r)
	method, lines := r.Header.Lookup("access-control-request-method")
	requested, listed := requestedHeaders(r)
	if origin == "" || lines != 1 || !listed || !p.allowsMethod(method) || !p.allowsHeaders(requested) {
		reply = exchange.Deny(http.StatusForbidden, "forbidden")
		reply.Header = http.Header{"Vary": {preflightVary}, "Content-Type": {"text/plain; charset=utf-8"}}
		return reply, false
	}
	return &exchange.Reply{Code: http.StatusNoContent, Header: p.preflightHeaders(origin, method, requested)}, true
}

func (p *Policy) preflightHeaders(origin, method string, requested []string) http.Header {
	h := http.Header{"Access-Control-Allow-Origin": {origin}, "Vary": {preflightVary}}
	if p.credentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
	// With credentials "*" is a literal name to browsers, so what was asked for is named instead.
	if p.anyMethod {
		h["Access-Control-Allow-Methods"] = []string{method}
	} else if p.methodList != "" {
		h["Access-Control-Allow-Methods"] = []string{p.methodList}
	}
	if p.anyHeader && len(requested) > 0 {
		h["Access-Control-Allow-Headers"] = []string{strings.Join(requested, ", ")}
	} else if !p.anyHeader && p.headerList != "" {
		h["Access-Control-Allow-Headers"] = []string{p.headerList}
	}
	if p.maxAge != "" {
		h["Access-Control-Max-Age"] = []string{p.maxAge}
	}
	return h
}

// allowsMethod knows that browsers send GET, HEAD and POST whatever the list says (Fetch:
// CORS-safelisted methods). Methods are case-sensitive.
func (p *Policy) allowsMethod(method string) bool {
	switch {
	case !exchange.IsToken(method):
		return false
	case method == http.MethodGet, method == http.MethodHead, method == http.MethodPost:
		return true
	}
	return p.anyMethod || slices.Contains(p.methods, method)
}

// allowsHeaders compares without regard to case; browsers send lower case, policies rarely do.
func (p *Policy) allowsHeaders(requested []string) bool {
	if p.anyHeader {
		return true
	}
	for _, name := range requested {
		if !slices.ContainsFunc(p.headers, func(allowed string) bool { return strings.EqualFold(allowed, name) }) {
			return false
		}
	}
	return true
}

// requestedHeaders parses Access-Control-Request-Headers within bounds; ok is false for a list that no
// browser sends.
func requestedHeaders(r *exchange.Request) (names []string, ok bool) {
	size := 0
	for _, line := range r.Header.Values("access-control-request-headers") {
		if size += len(line); size > maxRequestedSize {
			return nil, false
		}
		for name := range strings.SplitSeq(line, ",") {
			name = strings.Trim(name, " \t")
			if name == "" {
				continue
			}
			if !exchange.IsToken(name) || len(names) == maxRequested {
				return nil, false
			}
			names = append(names, name)
		}
	}
	return names, true
}
