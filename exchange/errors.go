package exchange

import (
	"errors"
	"fmt"
)

var (
	// ErrTooLarge indicates that a body is larger than its limit, or that only a prefix of it is there.
	// As a verdict it is a 413.
	ErrTooLarge = errors.New("body too large")
	// ErrNeeds indicates that the proxy's configuration doesn't give the processor what it asked for: a body,
	// trailers, a metadata namespace, an edit of host or x-envoy-*, which Envoy's mutation_rules must allow.
	ErrNeeds = errors.New("the filter's configuration forbids what the processor needs")
	// ErrDone indicates use of an Exchange after its Process has returned or has replied.
	ErrDone = errors.New("the exchange is done")
	// ErrEnded indicates that the exchange is over for a reason outside of the processor: the client has
	// gone, the upstream reset, the proxy timed out, or the processor was too slow. Nothing can be sent
	// any more; return it.
	ErrEnded = errors.New("the exchange has ended")
	// ErrNextTwice indicates a second call of Next.
	ErrNextTwice = errors.New("Next was called twice")
	// ErrResponseStarted indicates a reply that comes after the response's headers were released.
	ErrResponseStarted = errors.New("the response has already started")
	// ErrBadEdit indicates an edit that HTTP can't express, or that is none of a processor's: a name that is
	// no token, a value with CR, LF or NUL, a status that is none, a header of the connection (RFC 9110
	// section 7.6.1), a content-length, the removal of host. The edit stays, so that nothing unsaid passes; a
	// processor that returns the error gets its failure verdict.
	ErrBadEdit = errors.New("an edit that can't be made")
	// ErrPanicked indicates, in an [Outcome], that Process or a body's function panicked.
	ErrPanicked = errors.New("processor panicked")
	// ErrTooSlow indicates that Process kept the exchange waiting past the host's limit, and that the host
	// has ended it. It is an ErrEnded.
	ErrTooSlow = fmt.Errorf("%w: the processor kept it waiting for too long", ErrEnded)
)
