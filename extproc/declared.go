package extproc

import (
	"fmt"
	"slices"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// contradiction is a declared need that the filter is known not to meet: the field of ExternalProcessor, what
// is wrong with it and what to do. Its texts come from the declaration and from modes, of which there are
// few, so that a server can remember which it has told.
type contradiction struct{ field, problem, remedy string }

// Remedies. Overrides count where the filter says that it allows them, which the protocol doesn't.
const (
	overridable = `or NONE with allow_mode_override and initial metadata x-gatehouse-extproc "v=1; override"`
	listTrailer = `set both trailer modes to SEND and add "trailers" to initial metadata x-gatehouse-extproc, or allow overrides (allow_mode_override, "v=1; override")`
)

var listNamespace = [...]string{
	`add it there and to "untyped=" of initial metadata x-gatehouse-extproc`,
	`add it there and to "typed=" of initial metadata x-gatehouse-extproc`,
}

// declaration is what a server's processor needs, and what was told of filters that forbid it.
type declaration struct {
	needs exchange.Needs
	told  sync.Map // contradiction to nothing
}

// contradicted holds what the processor declares against what is known of the filter, and tells each
// contradiction once. The error is an ErrNeeds. What a filter doesn't tell (forwarded metadata, attributes,
// whether it takes replies) can't be held against it here; package doctor knows it.
func (s *stream) contradicted() error {
	d := &s.server.declared
	found := s.contradictions(&d.needs)
	if len(found) == 0 {
		return nil
	}
	for _, c := range found {
		if _, before := d.told.LoadOrStore(c, nil); !before {
			s.server.log.ErrorContext(&s.ctx, "the filter forbids what the processor needs: every exchange gets the failure verdict",
				"processor", s.server.name, "field", c.field, "problem", c.problem, "remedy", c.remedy)
		}
	}
	return unmet(found[0].field + ": " + found[0].problem)
}

func (s *stream) contradictions(n *exchange.Needs) (found []contradiction) {
	add := func(unmet bool, field, problem, remedy string) {
		if unmet {
			found = append(found, contradiction{field, problem, remedy})
		}
	}
	uses := [...]exchange.BodyUse{n.RequestBody, n.ResponseBody}
	trailers := [...]bool{n.RequestTrailers, n.ResponseTrailers}
	for i, name := range [...]string{"request", "response"} {
		mode := s.auto.sides[i].mode
		if !s.overrides && !s.serves(mode, uses[i]) {
			add(true, "processing_mode."+name+"_body_mode",
				fmt.Sprintf("the %s's body is %v, which mode %v doesn't allow", name, uses[i], exchange.BodyMode(mode)),
				"set FULL_DUPLEX_STREAMED with trailers SEND, "+overridable)
		}
		if trailers[i] && !s.overrides && mode != modeFullDuplex && !s.filter.Trailers {
			add(true, "processing_mode."+name+"_trailer_mode", "the processor reads the "+name+"'s trailers, which the filter isn't known to send", listTrailer)
		}
	}
	edits := n.RequestBody == exchange.BodyEdited || n.ResponseBody == exchange.BodyEdited
	add(s.auto.mute && (edits || n.Reply), "observability_mode", "the processor's edits and replies are ignored", "remove it")
	f := &s.filter
	if !f.Described {
		return found
	}
	add(n.Routing && !f.MutateAll, "mutation_rules.allow_all_routing", "changes of host, :authority, :method and :scheme are ignored without a word",
		`allow edits of every header and add "mutate-all" to initial metadata x-gatehouse-extproc`)
	for i, list := range [...]struct {
		kind        string
		named, have []string
	}{{"untyped", n.Metadata, f.Untyped}, {"typed", n.TypedMetadata, f.Typed}} {
		for _, name := range list.named {
			if !slices.Contains(list.have, name) {
				add(true, "metadata_options.receiving_namespaces."+list.kind, fmt.Sprintf("the namespace that the processor writes, %q, isn't listed", name), listNamespace[i])
			}
		}
	}
	if f.Timeout > 0 && n.Pause > max(f.Timeout, f.MaxTimeout) {
		add(true, "message_timeout", fmt.Sprintf("the processor may take %v for an answer, and the client gets 504 before", n.Pause),
			"raise it, or set max_message_timeout; initial metadata x-gatehouse-extproc says both")
	}
	return found
}

// serves reports whether a mode that can't be changed allows the use of a body.
func (s *stream) serves(mode bodyMode, use exchange.BodyUse) bool {
	switch use {
	case exchange.BodyUntouched:
		return true
	case exchange.BodyObserved:
		return observable(mode)
	default:
		return s.editable(mode)
	}
}
