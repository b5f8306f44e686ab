package policytest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Change is a request of which another version of the policies makes something else.
type Change struct {
	Case        *Case
	Differences []string // "verdict deny, was allow"
}

// Shadow runs the requests of outcomes by another engine and lists what comes out otherwise.
func Shadow(ctx context.Context, outcomes []Outcome, other *Engine) []Change {
	var all []Change
	for i := range outcomes {
		o := &outcomes[i]
		now, err := other.Run(ctx, o.Case.request())
		var differences []string
		switch {
		case err != nil || o.Result == nil:
			if err != nil && o.Result != nil {
				differences = []string{err.Error()}
			}
		default:
			differences = o.Result.changes(now)
		}
		if len(differences) > 0 {
			all = append(all, Change{o.Case, differences})
		}
	}
	return all
}

// changes lists everything that a client, a backend or a reader of the log would notice.
func (r *Result) changes(now *Result) []string {
	var all []string
	note := func(what string, was, is any) {
		if was != is {
			all = append(all, fmt.Sprintf("%s %v, was %v", what, is, was))
		}
	}
	note("verdict", r.Verdict, now.Verdict)
	note("status", statusText(r.Status), statusText(now.Status))
	note("grpcStatus", cmp.Or(r.GRPCStatus, "none"), cmp.Or(now.GRPCStatus, "none"))
	note("reason", r.Reason, now.Reason)
	note("policy", cmp.Or(r.Policy, "none"), cmp.Or(now.Policy, "none"))
	note("route", cmp.Or(r.Route, "none"), cmp.Or(now.Route, "none"))
	all = append(all, headerChanges("to the backend", r.Upstream, now.Upstream)...)
	return append(all, headerChanges("in the answer", r.Response, now.Response)...)
}

func statusText(status int) string {
	if status == 0 {
		return "the backend's"
	}
	return strconv.Itoa(status)
}

// headerChanges names headers whose values differ; the values may be credentials.
func headerChanges(where string, was, is http.Header) []string {
	if was == nil || is == nil { // the verdict says so already
		return nil
	}
	names := map[string]bool{}
	for name := range was {
		names[name] = true
	}
	for name := range is {
		names[name] = true
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !ofTheMoment(name) && strings.Join(was[name], ", ") != strings.Join(is[name], ", ") {
			all = append(all, fmt.Sprintf("%s: %s is another", where, strings.ToLower(name)))
		}
	}
	return all
}
