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
	for _, name := range compared {
		note(name, a.Counters[name], b.Counters[name])
	}
	note("stream", strings.Join(a.Stream, " "), strings.Join(b.Stream, " "))
	if len(a.Stream) == len(b.Stream) {
		x, y := a.contents(), b.contents()
		for i := range min(len(x), len(y)) {
			note("message", x[i], y[i])
		}
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
func (r *Result) contents() (out []string) {
	for _, f := range r.frames {
		if f.request != nil {
			out = append(out, requestKind(f.request)+" "+f.content())
		}
	}
	return out
}
