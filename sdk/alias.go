package sdk

import "github.com/gatehouse-proxy/gatehouse/exchange"

// The types of package exchange, under the one name that an extension's author imports.
type (
	// Processor sees an exchange: request, response, or both.
	Processor = exchange.Processor
	// ProcessorFunc makes a function a Processor.
	ProcessorFunc = exchange.ProcessorFunc
	// LocalReplyProcessor also wants the responses that the proxy made by itself.
	LocalReplyProcessor = exchange.LocalReplyProcessor
	// Exchange is one request and its response.
	Exchange = exchange.Exchange
	// Request is the request of an exchange.
	Request = exchange.Request
	// Response is the response of an exchange.
	Response = exchange.Response
	// Header is a message's header lines with the edits made to them.
	Header = exchange.Header
	// Field is one header line.
	Field = exchange.Field
	// Body is one direction's body.
	Body = exchange.Body
	// Want says what of the response a processor will touch beyond its headers.
	Want = exchange.Want
	// FilterInfo is what is known of the proxy's configuration.
	FilterInfo = exchange.FilterInfo
	// Key names a value that goes along with a request; see [NewKey].
	Key[T any] = exchange.Key[T]
	// NeedsProcessor declares what it needs of its filter; see [Declare].
	NeedsProcessor = exchange.NeedsProcessor
	// Needs is what a processor asks of its filter.
	Needs = exchange.Needs
	// BodyUse is what a processor does with a body.
	BodyUse = exchange.BodyUse
	// Reply is an answer in place of the upstream's; as an error it is the verdict.
	Reply = exchange.Reply
	// Outcome is how an exchange ended.
	Outcome = exchange.Outcome
	// Authorizer decides about requests.
	Authorizer = exchange.Authorizer
	// AuthorizerFunc makes a function an Authorizer.
	AuthorizerFunc = exchange.AuthorizerFunc
	// Verdict is an Authorizer's decision; the zero Verdict denies.
	Verdict = exchange.Verdict
)

// What Next can be told to want.
const (
	// ObserveBody allows Response.Body.Observe.
	ObserveBody = exchange.ObserveBody
	// EditBody allows all of Response.Body.
	EditBody = exchange.EditBody
	// Trailers fills Response.Trailer.
	Trailers = exchange.Trailers
)

// What Needs can say of a body.
const (
	// BodyUntouched leaves it alone.
	BodyUntouched = exchange.BodyUntouched
	// BodyObserved watches it pass.
	BodyObserved = exchange.BodyObserved
	// BodyEdited holds, reads or rewrites it.
	BodyEdited = exchange.BodyEdited
)

// The errors of package exchange, to be compared with errors.Is.
var (
	// ErrTooLarge: a body is larger than its limit; as a verdict it is 413.
	ErrTooLarge = exchange.ErrTooLarge
	// ErrNeeds: the proxy's configuration doesn't give what was asked for.
	ErrNeeds = exchange.ErrNeeds
	// ErrDone: the exchange was used after its end.
	ErrDone = exchange.ErrDone
	// ErrEnded: the exchange is over for a reason outside of the processor.
	ErrEnded = exchange.ErrEnded
	// ErrNextTwice: Next was called again.
	ErrNextTwice = exchange.ErrNextTwice
	// ErrResponseStarted: too late for a reply.
	ErrResponseStarted = exchange.ErrResponseStarted
	// ErrBadEdit: an edit can't be expressed in HTTP, or isn't a processor's to make.
	ErrBadEdit = exchange.ErrBadEdit
)

// Deny is the answer code with a message that clients may read.
func Deny(code int, publicMsg string) *Reply { return exchange.Deny(code, publicMsg) }

// Declare returns p with n as what it needs of its filter, in place of what p declares itself as a
// [NeedsProcessor]. A filter that is known to forbid it is then found at its first exchange, before p runs: the
// client gets the failure verdict, and the log says once what to change in the filter. Nothing else depends on
// it: what isn't declared is asked for when it is used. What is returned is no [Authorizer], even if p is.
func Declare(n Needs, p Processor) Processor { return exchange.Declare(n, p) }

// NewKey returns a [Key] for values of type T. Its name is for people; keys are compared by identity.
func NewKey[T any](name string) *Key[T] { return exchange.NewKey[T](name) }
