package sdktest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// Diff lists in which respects two results differ, in words; nothing if they are the same. Of the counters
// it compares those that don't depend on how streams end.
func Diff(a, b *Result) []string {
	var out []string
	note := func(what string, a, b any) {
		if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
			out = append(out, fmt.Sprintf("%s: %s, and %s", what, x, y))
		}
	}
	note("upstream", a.Upstream, b.Upstream)
	note("tries", a.Tries, b.Tries)
	note("client", a.Client, b.Client)
	note("rerouted", a.Rerouted, b.Rerouted)
	note("details", a.Details, b.Details)
	side := func(prefix string, a, b seen) {
		for _, name := range compared {
			note(prefix+name, a.counters[name], b.counters[name])
		}
		note(prefix+"stream", strings.Join(a.stream, " "), strings.Join(b.stream, " "))
		if len(a.stream) == len(b.stream) {
			x, y := contents(a.frames), contents(b.frames)
			for i := range min(len(x), len(y)) {
				note(prefix+"message", x[i], y[i])
			}
		}
	}
	side("", seen{a.Counters, a.Stream, a.frames}, seen{b.Counters, b.Stream, b.frames})
	if a.Inner != nil && b.Inner != nil {
		side("inner ", seen{a.Inner.Counters, a.Inner.Stream, a.Inner.frames}, seen{b.Inner.Counters, b.Inner.Stream, b.Inner.frames})
	}
	for _, ns := range slices.Sorted(maps.Keys(a.Metadata)) {
		if other := b.Metadata[ns]; !proto.Equal(a.Metadata[ns], other) {
			note("metadata "+ns, a.Metadata[ns].AsMap(), other.AsMap())
		}
	}
	for ns := range b.Metadata {
		if a.Metadata[ns] == nil {
			note("metadata "+ns, nil, b.Metadata[ns].AsMap())
		}
	}
	return out
}

// seen is what a filter and its processor saw.
type seen struct {
	counters map[string]uint64
	stream   []string
	frames   []frame
}

// compared are the counters that follow from the exchange alone.
var compared = []string{
	"streams_started", "stream_msgs_sent", "stream_msgs_received", "spurious_msgs_received", "streams_failed",
	"failure_mode_allowed", "message_timeouts", "rejected_header_mutations",
	"override_message_timeout_received", "override_message_timeout_ignored",
	"clear_route_cache_ignored", "clear_route_cache_disabled",
}

// Summary is a result in one line: what reached the upstream, what the client got, and what of the counters
// says that something went wrong.
func (r *Result) Summary() string {
	var out strings.Builder
	for _, m := range r.Tries {
		fmt.Fprintf(&out, "→ %v ", brief(m))
	}
	fmt.Fprintf(&out, "→ %v ← %v", brief(r.Upstream), brief(r.Client))
	if r.Details != "via_upstream" && r.Details != "" && r.Details != "-" {
		fmt.Fprintf(&out, " {%s}", r.Details)
	}
	if r.Rerouted {
		out.WriteString(" rerouted")
	}
	for _, name := range compared[3:] {
		if n := r.Counters[name]; n > 0 {
			fmt.Fprintf(&out, " %s=%d", name, n)
		}
	}
	return out.String()
}

func brief(m *Message) string {
	if m == nil {
		return "nothing"
	}
	text := m.String()
	return strings.TrimSuffix(strings.ReplaceAll(text, " http://test.example", " "), " complete")
}

// contents are the contents of the messages that the processor got.
func contents(frames []frame) (out []string) {
	for _, f := range frames {
		if f.request != nil {
			out = append(out, requestKind(f.request)+" "+f.content())
		}
	}
	return out
}
