package doctor

import "time"

// Use is what a processor does with a body.
type Use uint8

const (
	// Untouched leaves the body alone.
	Untouched Use = iota
	// Observe watches it pass.
	Observe
	// Edit holds, reads or rewrites it.
	Edit
)

// String names the use.
func (u Use) String() string { return [...]string{"untouched", "observed", "held or rewritten"}[u%3] }

// Needs is what a processor asks of its filter. The zero Needs is a processor that looks at request headers.
type Needs struct {
	// RequestBody and ResponseBody are the uses of the bodies.
	RequestBody, ResponseBody Use
	// ResponseHeaders says that it calls Next, and RequestTrailers and ResponseTrailers that it reads those.
	ResponseHeaders, RequestTrailers, ResponseTrailers bool
	// Reply says that it answers in place of the upstream.
	Reply bool
	// Routing says that it changes host, :authority, :method or :scheme.
	Routing bool
	// Metadata are the namespaces of dynamic metadata that it writes, Reads those that it reads.
	Metadata, Reads []string
	// RequestAttributes and ResponseAttributes are those that it asks for.
	RequestAttributes, ResponseAttributes []string
	// Pause is the longest time that it takes for one answer, connecting included; zero is not known.
	Pause time.Duration
}
