package policytest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Result is what became of a case's request.
type Result struct {
	Verdict string
	Status  int // 0: the backend's, or that of a stream that is reset
	// GRPCStatus is a number, "" for other than gRPC answers of the gateway.
	GRPCStatus string
	// Reason, Policy and Route are empty where Envoy was asked.
	Reason, Policy, Route string
	// Upstream is what the backend got, nil if it got nothing; Response what the client got as far as the
	// gateway decides it.
	Upstream, Response http.Header
	// Uncertain says that servers of the user's own stood on the way that weren't asked.
	Uncertain bool
}

// verdictOf tells a denial from another answer of the gateway by its status alone, as a client does. A gRPC client
// gets 2 for a body that is too large, and for a redirect, which ends its call as well.
func verdictOf(forwarded bool, status int, grpcStatus string) string {
	denials := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	switch {
	case forwarded:
		return Allow
	case slices.Contains(denials, status), slices.Contains([]string{"16", "7", "14", "2"}, grpcStatus):
		return Deny
	}
	return Answer
}

// check lists in what the result isn't as expected. engine says that the policy engine told it.
func (e *Expect) check(r *Result, engine bool) []string {
	var faults []string
	compare := func(what, want, got string) {
		if want != "" && want != got {
			faults = append(faults, fmt.Sprintf("%s is %q, expected %q", what, got, want))
		}
	}
	compare("verdict", e.Verdict, r.Verdict)
	if e.Status != 0 && r.Status != e.Status && (r.Verdict != Allow || r.Status != 0) {
		faults = append(faults, fmt.Sprintf("status is %d, expected %d", r.Status, e.Status))
	}
	if e.GRPCStatus != nil && (r.Verdict != Allow || r.GRPCStatus != "") {
		compare("grpcStatus", strconv.Itoa(*e.GRPCStatus), r.GRPCStatus)
	}
	if engine {
		compare("reason", e.Reason, r.Reason)
		compare("policy", e.Policy, r.Policy)
		compare("route", e.Route, r.Route)
	}
	if len(e.RequestHeaders) > 0 && r.Upstream == nil {
		faults = append(faults, "requestHeaders: the backend gets nothing")
	} else {
		faults = append(faults, checkHeaders("requestHeaders", e.RequestHeaders, r.Upstream)...)
	}
	return append(faults, checkHeaders("responseHeaders", e.ResponseHeaders, r.Response)...)
}

func checkHeaders(what string, want map[string]*string, got http.Header) []string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		value, values := want[name], got.Values(name)
		text := strings.Join(values, ", ")
		switch {
		case value == nil && len(values) > 0:
			faults = append(faults, fmt.Sprintf("%s: %s is there and shouldn't be", what, name))
		case value != nil && len(values) == 0:
			faults = append(faults, fmt.Sprintf("%s: %s is missing, expected %q", what, name, *value))
		case value != nil && text != *value:
			faults = append(faults, fmt.Sprintf("%s: %s is %q, expected %q", what, name, text, *value))
		}
	}
	return faults
}

// differs lists in what two results differ that both tell.
func (r *Result) differs(o *Result) []string {
	var all []string
	if r.Verdict != o.Verdict {
		return []string{fmt.Sprintf("verdict %s, not %s", o.Verdict, r.Verdict)}
	}
	if r.Status != o.Status && r.Status != 0 && o.Status != 0 {
		all = append(all, "status "+strconv.Itoa(o.Status)+", not "+strconv.Itoa(r.Status))
	}
	if r.Verdict != Allow && r.GRPCStatus != o.GRPCStatus {
		all = append(all, fmt.Sprintf("grpcStatus %q, not %q", o.GRPCStatus, r.GRPCStatus))
	}
	if r.Verdict == Allow {
		all = append(all, headerChanges("to the backend", r.Upstream, o.Upstream)...)
	}
	// Of an answer Envoy adds what isn't a matter of policies.
	own := http.Header{}
	for name := range r.Response {
		own[name] = o.Response[name]
	}
	if to, _, login := strings.Cut(own.Get("Location"), "?client_id="); login { // what follows is made of the moment
		own = own.Clone()
		own.Set("Location", to)
	}
	return append(all, headerChanges("in the answer", r.Response, own)...)
}

// ofTheMoment reports whether Envoy sets a header by itself: its value isn't foretold.
func ofTheMoment(name string) bool {
	own := []string{"X-Request-Id", "X-Forwarded-Proto", "X-Forwarded-For", "Content-Length"}
	return strings.HasPrefix(name, "X-Envoy-") || slices.Contains(own, name)
}
