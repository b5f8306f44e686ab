package exchange

import (
	"context"
	"time"
)

// A Processor sees one HTTP exchange as straight-line code, in the goroutine that serves its stream.
//
// Returning nil releases what is still held: the request if Next was not called, else the response. A
// [Reply] returned as an error is the verdict. Any other error, a panic, an unmet need or a passed
// deadline is the failure verdict, 503 unless the host is told otherwise. When the response has already
// started, a verdict resets the exchange where the proxy still listens: the client sees a broken
// response, never a complete one.
//
// Process is called concurrently, once for each exchange.
type Processor interface {
	Process(ctx context.Context, x *Exchange) error
}

// ProcessorFunc makes a function a [Processor].
type ProcessorFunc func(ctx context.Context, x *Exchange) error

// Process calls f.
func (f ProcessorFunc) Process(ctx context.Context, x *Exchange) error { return f(ctx, x) }

// An Exchange is one request and its response. It belongs to the goroutine that Process runs in, and
// after Process has returned its methods return [ErrDone]. Strings from it may be kept.
type Exchange struct {
	// Request is edited before Next; later edits are not sent.
	Request *Request

	host Host
}

// A Host carries an Exchange: it has the proxy's side of every method below, which hold what is
// demanded of it. Only hosts implement it, and only they call NewExchange.
//
//nolint:interfacebloat // it is an Exchange's methods
type Host interface {
	Next(ctx context.Context, want Want) (*Response, error)
	Finish(ctx context.Context) error
	Reply(r Reply) error
	// OpenReply sends the headers of a reply whose body follows; ErrNeeds where that can't be.
	OpenReply(r *Reply) (ReplyBody, error)
	SetMetadata(namespace, key string, value any) error
	Metadata(namespace string) map[string]any
	Attribute(name string) (string, bool)
	OnComplete(fn func(Outcome))
	Filter() FilterInfo
	ExtendTimeout(d time.Duration) error
	Deadline() (time.Time, bool)
	// Base is the host that speaks with the proxy; a host in between returns that of its own Exchange.
	Base() Host
}

// NewExchange is for hosts.
func NewExchange(r *Request, h Host) *Exchange { return &Exchange{Request: r, host: h} }

// Init makes x, which is zero, what [NewExchange] returns. For hosts that have the memory already.
func (x *Exchange) Init(r *Request, h Host) { x.Request, x.host = r, h }

// Next releases the request, with the edits made so far, and waits for the response's headers. Bodies
// flow meanwhile. want says what of the response will be touched beyond its headers; it can't be widened
// later, because the proxy must be told before the request leaves. ctx may have a deadline of its own,
// at the cost of one more goroutine; it also bounds reads of the response's body.
//
// Errors: [ErrNeeds] if the proxy's configuration forbids want or what was asked of the request's body,
// and then it is the failure verdict; [ErrEnded], [ErrNextTwice], [ErrDone], [ErrBadEdit], ctx's error,
// that of a function given to Observe or Transform.
func (x *Exchange) Next(ctx context.Context, want ...Want) (*Response, error) {
	var all Want
	for _, w := range want {
		all |= w
	}
	return x.host.Next(ctx, all)
}

// Finish releases the response, with the edits made so far. Where Next was given a Want it returns when
// the response has passed, its observers and transforms having run; else as soon as its headers are on
// their way, as a proxy doesn't tell more. Before Next it does what Next does first. Code after it is the
// place for accounting that the client should not wait for.
//
// Errors are those of Next.
func (x *Exchange) Finish(ctx context.Context) error { return x.host.Finish(ctx) }

// Filter returns what is known of the proxy's configuration.
func (x *Exchange) Filter() FilterInfo { return x.host.Filter() }

// Deadline returns when the host will take the exchange from Process, cancel its context and give the failure
// verdict, if Process doesn't let the proxy go on before; ok is false if nothing bounds it. It is the earlier of
// what the host grants (extproc.WithDeadline) and what is left of the proxy's patience where that is known, with
// the extension that the host asks for by itself (extproc.WithKeepAlive). It moves with each call that moves
// messages, and time in Next doesn't count, which is why Process's context has no deadline of its own. To bound
// a call to somebody else:
//
//	if at, ok := x.Deadline(); ok {
//		var cancel context.CancelFunc
//		ctx, cancel = context.WithDeadline(ctx, at)
//		defer cancel()
//	}
func (x *Exchange) Deadline() (at time.Time, ok bool) { return x.host.Deadline() }

// ExtendTimeout asks the proxy to wait for up to d, from now on, for what the present phase still owes it:
// before Next for the request, after it for the response. It also sets the time that the processor's own
// host grants (extproc.WithDeadline). Envoy takes one extension for each phase, and none above its filter's
// max_message_timeout.
//
// Errors: [ErrNeeds] for a second extension, or if the filter isn't known to allow one of d (see
// [FilterInfo.MaxTimeout]); [ErrEnded], [ErrDone]. Where the proxy has no timeout there is none to extend,
// and no error.
func (x *Exchange) ExtendTimeout(d time.Duration) error { return x.host.ExtendTimeout(d) }

// Base returns the host that speaks with the proxy. For packages of hosts.
func (x *Exchange) Base() Host { return x.host.Base() }

// Reply answers in place of the upstream, with one message; returning r as an error does the same.
// After it there is nothing left to do but return.
//
// Errors: [ErrResponseStarted], [ErrEnded], [ErrDone].
func (x *Exchange) Reply(r Reply) error { return x.host.Reply(r) }

// SetMetadata emits dynamic metadata with the next answer to the proxy. Values are those of
// [Verdict.Metadata]; another type is an error. In Envoy the filter's metadata_options must list the
// namespace under receiving_namespaces.untyped, else Envoy drops it without a word; where the filter is
// known not to, that is [ErrNeeds].
func (x *Exchange) SetMetadata(namespace, key string, value any) error {
	return x.host.SetMetadata(namespace, key, value)
}

// Metadata returns the dynamic metadata of a namespace as it was at the latest message, nil if the
// proxy forwards none. The map is the caller's.
func (x *Exchange) Metadata(namespace string) map[string]any { return x.host.Metadata(namespace) }

// Attribute returns an attribute that the proxy is configured to send, such as "source.address" or
// "request.id"; a number as decimal text. Attributes of the response come with Next.
func (x *Exchange) Attribute(name string) (value string, ok bool) { return x.host.Attribute(name) }

// OnComplete has fn called exactly once when the exchange is over as far as the proxy tells, also when
// the client has gone or Process has panicked. Several run in the order of their registration.
func (x *Exchange) OnComplete(fn func(Outcome)) { x.host.OnComplete(fn) }

// Outcome is how an exchange ended.
type Outcome struct {
	// Status is what the client was sent: the reply's status, or the response's; 0 if none was seen.
	Status int
	// Reply is the answer in place of the upstream's, nil if there was none.
	Reply *Reply
	// Err is what made it a failure: Process's error other than a Reply, or ErrEnded.
	Err error
	// Held is for how long Process's own code, and that of its body functions, had the exchange.
	Held time.Duration
	// RequestBytes and ResponseBytes are what came of the bodies.
	RequestBytes, ResponseBytes int64
	// Edits is how much of the messages was changed: names of headers and trailers, path, status, and bodies.
	Edits int
	// Prevented is how often the host kept back what the proxy would have taken for a fault of the protocol, or
	// ignored: calls that came too late or twice, edits and needs that the configuration forbids.
	Prevented int
	// Left says that the failure was left to the proxy's own failure mode, in place of a verdict.
	Left bool
}
