package exchange

import (
	"context"
	"slices"
	"time"
)

// BodyUse is what a processor does with a body.
type BodyUse uint8

const (
	// BodyUntouched leaves the body alone.
	BodyUntouched BodyUse = iota
	// BodyObserved watches it pass.
	BodyObserved
	// BodyEdited holds, reads or rewrites it.
	BodyEdited
)

// String names the use.
func (u BodyUse) String() string {
	return [...]string{"untouched", "observed", "held or rewritten"}[u%3]
}

// Needs is what a processor asks of its filter. The zero Needs is a processor that looks at request headers.
type Needs struct {
	// RequestBody and ResponseBody are the uses of the bodies.
	RequestBody, ResponseBody BodyUse
	// ResponseHeaders says that it calls Next, and RequestTrailers and ResponseTrailers that it reads those.
	ResponseHeaders, RequestTrailers, ResponseTrailers bool
	// Reply says that it answers in place of the upstream.
	Reply bool
	// Routing says that it changes host, :authority, :method or :scheme.
	Routing bool
	// Metadata are the namespaces of dynamic metadata that it writes, Reads those that it reads.
	Metadata, Reads []string
	// TypedMetadata and ReadsTyped are those of typed metadata.
	TypedMetadata, ReadsTyped []string
	// RequestAttributes and ResponseAttributes are those that it asks for.
	RequestAttributes, ResponseAttributes []string
	// Pause is the longest time that it takes for one answer, connecting included; zero is not known.
	Pause time.Duration
}

// And returns what two processors need that share a filter and give one answer: the further use of each
// body, the names of both, and the sum of their pauses.
func (n Needs) And(m Needs) Needs {
	return Needs{
		RequestBody:        max(n.RequestBody, m.RequestBody),
		ResponseBody:       max(n.ResponseBody, m.ResponseBody),
		ResponseHeaders:    n.ResponseHeaders || m.ResponseHeaders,
		RequestTrailers:    n.RequestTrailers || m.RequestTrailers,
		ResponseTrailers:   n.ResponseTrailers || m.ResponseTrailers,
		Reply:              n.Reply || m.Reply,
		Routing:            n.Routing || m.Routing,
		Metadata:           union(n.Metadata, m.Metadata),
		Reads:              union(n.Reads, m.Reads),
		TypedMetadata:      union(n.TypedMetadata, m.TypedMetadata),
		ReadsTyped:         union(n.ReadsTyped, m.ReadsTyped),
		RequestAttributes:  union(n.RequestAttributes, m.RequestAttributes),
		ResponseAttributes: union(n.ResponseAttributes, m.ResponseAttributes),
		Pause:              n.Pause + m.Pause,
	}
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// A NeedsProcessor declares what it needs, so that a filter which forbids it is found at the first exchange
// and not at the first that happens to need it. Needs always returns the same, and is called concurrently.
type NeedsProcessor interface {
	Processor
	Needs() Needs
}

// NeedsOf returns what p declares; zero if it isn't a [NeedsProcessor]. For processors around others.
func NeedsOf(p Processor) Needs {
	if d, ok := p.(NeedsProcessor); ok {
		return d.Needs()
	}
	return Needs{}
}

// Declare returns p with n as what it needs, in place of what it declares itself.
func Declare(n Needs, p Processor) Processor { return declared{p, n} }

type declared struct {
	Processor

	needs Needs
}

// Needs implements [NeedsProcessor].
func (d declared) Needs() Needs { return d.needs }

// ProcessLocalReply implements [LocalReplyProcessor].
func (d declared) ProcessLocalReply(ctx context.Context, resp *Response) error {
	return ProcessLocalReply(ctx, d.Processor, resp)
}
