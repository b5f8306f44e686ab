package explain

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Text writes the explanation for people.
func (e *Explanation) Text(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s%s\n", name, fmt.Sprintf(format, args...))
	}
	from := orUnknown(e.Request.Client)
	if e.Request.Location != "" {
		from += " in " + e.Request.Location
	}
	row("request", "%s %s://%s%s from %s", e.Request.Method, e.Request.Scheme, e.Request.Authority, e.Request.Path, from)
	if l := e.Listener; l != nil {
		row("listener", "%s", l)
	}
	if e.Host != "" {
		row("host", "%s", e.Host)
	}
	if e.Route != nil {
		row("route", "%s", e.Route)
	}
	for i, p := range e.Policies {
		row(first("policies", i), "%s", p)
	}
	for i, p := range e.Processors {
		row(first("processors", i), "%s (not asked)", p)
	}
	for i, f := range e.Filters {
		row(first("filters", i), "%s (not played)", f)
	}
	for i, backend := range e.Backends {
		row(first("backends", i), "%s", backend)
	}
	e.Verdict.rows(row)
	for i, n := range e.Notes {
		row(first("notes", i), "%s", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func first(name string, i int) string {
	if i > 0 {
		return ""
	}
	return name
}

func orUnknown(text string) string {
	if text == "" {
		return "an unknown address"
	}
	return text
}

// String names the listener, its hostname and its address.
func (l *Listener) String() string {
	text := fmt.Sprintf("%s %s/%s, listener %s", l.Kind, l.Namespace, l.Name, l.Listener)
	if l.Hostname != "" {
		text += " for " + l.Hostname
	}
	return text + " on " + l.Address
}

// String names the rule and its match.
func (r *Route) String() string {
	if r.Kind == "" {
		return r.Envoy + ": " + r.Match
	}
	text := fmt.Sprintf("%s %s/%s, rule %d", r.Kind, r.Namespace, r.Name, r.Rule)
	if r.RuleName != "" {
		text += " (" + r.RuleName + ")"
	}
	if r.Preflight {
		text += ", its preflights"
	}
	return text + ": " + r.Match
}

// String names the policy, its target and what it does.
func (p Policy) String() string {
	text := fmt.Sprintf("%s %s/%s on %s", p.Kind, p.Namespace, p.Name, p.Target)
	switch {
	case !p.InForce:
		text += ": not in force, a more specific or older one is"
	case len(p.Enforces) > 0:
		text += ": " + strings.Join(p.Enforces, ", ")
	}
	return text
}

// String names the server or script.
func (p Processor) String() string {
	if p.FailOpen {
		return p.Type + " " + p.Name + ", failOpen"
	}
	return p.Type + " " + p.Name
}

// String names the backend and its endpoints.
func (b Backend) String() string {
	text := b.Name
	if b.Weight > 0 {
		text += fmt.Sprintf(", weight %d", b.Weight)
	}
	if b.Fault != "" {
		return text + ": " + b.Fault
	}
	return text + ": " + strings.Join(b.Endpoints, ", ")
}

func (v *Verdict) rows(row func(name, format string, args ...any)) {
	text := v.Outcome
	if v.Status != 0 {
		text += fmt.Sprintf(" with %d", v.Status)
	}
	if v.GRPCStatus != nil {
		text += fmt.Sprintf(" and grpc-status %d", *v.GRPCStatus)
	}
	text += fmt.Sprintf(" by %s: %s", v.By, v.Reason)
	if v.Rule != "" {
		_, rule, _ := strings.Cut(v.Rule, "#")
		text += ", by its " + rule
	}
	if v.DryRun {
		text += " (dry run: it would have been denied)"
	}
	row("verdict", "%s", text)
	if v.Location != "" {
		row("", "location: %s", v.Location)
	}
	if v.Path != "" {
		row("", "to the backend: path %s", v.Path)
	}
	if v.Host != "" {
		row("", "to the backend: host %s", v.Host)
	}
	for _, name := range slices.Sorted(maps.Keys(v.RequestHeaders)) {
		row("", "to the backend: %s: %s", name, v.RequestHeaders[name])
	}
	if len(v.RemovedHeaders) > 0 {
		row("", "not to the backend: %s", strings.Join(v.RemovedHeaders, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(v.ResponseHeaders)) {
		row("", "in the answer: %s: %s", name, v.ResponseHeaders[name])
	}
}
