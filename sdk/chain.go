package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Chain nests processors as net/http middleware is nested: Next of the first runs the second, and so
// on; the last one's Next releases the request. Responses come back in reverse, and Envoy gets one
// merged answer. All of it runs in the goroutine of the exchange.
//
// A processor that returns without Next doesn't end the chain: those after it see the request. A Reply
// from further in, returned or sent, comes back from Next as a Response whose Local is true, so that
// outer processors can still edit its status and header (CORS headers on a 401); its code after Finish
// runs when the outermost has released the response. Any other failure of an inner processor is the
// error of the outer one's Next and remains the verdict whatever the outer one makes of it, unless that
// replies.
//
// Responses that the proxy made by itself come to those that are [LocalReplyProcessor]s, in reverse too;
// an error ends the way.
//
// A chain needs what its processors declare together ([Declare]).
//
// Chain() passes everything.
func Chain(processors ...Processor) Processor {
	switch len(processors) {
	case 0:
		return ProcessorFunc(func(context.Context, *Exchange) error { return nil })
	case 1:
		return processors[0]
	default:
		return pair{outer: processors[0], inner: Chain(processors[1:]...)}
	}
}

type pair struct{ outer, inner Processor }

// Process implements [Processor].
func (p pair) Process(ctx context.Context, x *Exchange) error {
	l := &link{x: x, inner: p.inner}
	defer l.stopInner()
	err := p.outer.Process(ctx, exchange.NewExchange(x.Request, outerHost{l, exchange.Forward{To: x}}))
	switch {
	case err == nil && l.replied:
		return nil
	case err != nil:
		var reply *Reply
		if l.failure != nil && !errors.As(err, &reply) {
			return l.failure
		}
		return err
	case l.failure != nil:
		return l.failure
	case !l.nexted:
		x.Request.Body.Rewind()
		return p.inner.Process(ctx, x) // the outer one has seen all that it wanted
	case l.local != nil || l.resume != nil:
		return l.finish(ctx)
	}
	return nil
}

// ProcessLocalReply implements [exchange.LocalReplyProcessor].
func (p pair) ProcessLocalReply(ctx context.Context, resp *Response) error {
	if err := exchange.ProcessLocalReply(ctx, p.inner, resp); err != nil {
		return err
	}
	resp.Body.Rewind()
	return exchange.ProcessLocalReply(ctx, p.outer, resp)
}

// Needs implements [exchange.NeedsProcessor].
func (p pair) Needs() Needs { return exchange.NeedsOf(p.outer).And(exchange.NeedsOf(p.inner)) }

// link joins an outer and an inner processor. The inner one is a coroutine of the outer one's calls: it
// runs in Next, until it returns or waits in Finish, and from there in the outer one's Finish or return.
type link struct {
	x     *Exchange // towards Envoy
	inner Processor

	resume func() (request, bool) // runs the inner one on; nil if there is nothing to run
	stop   func()

	response *Response
	err      error  // that of the inner one's present call
	local    *Reply // what the inner one answered with
	failure  error  // why the inner one failed
	nexted   bool   // the outer one called Next
	want     Want   // what it asked for then
	released bool   // the response is out
	replied  bool   // the outer one has replied
}

// request is what the inner processor waits for.
type request struct {
	finish bool // else Next
	ctx    context.Context
	want   Want
}

var errInner = errors.New("an inner processor panicked")

func (l *link) startInner(ctx context.Context) {
	l.resume, l.stop = iter.Pull(func(yield func(request) bool) {
		host := &innerHost{Forward: exchange.Forward{To: l.x}, link: l, yield: yield}
		err := l.inner.Process(ctx, exchange.NewExchange(l.x.Request, host))
		var reply *Reply
		switch {
		case host.reply != nil:
			l.local = host.reply
		case errors.As(err, &reply) && reply != nil && !l.released:
			l.local = reply
		case errors.Is(err, ErrTooLarge) && !l.released:
			l.local = Deny(http.StatusRequestEntityTooLarge, "body too large")
		case err != nil:
			l.failure = err
		}
	})
}

// stopInner ends an inner processor that still waits: its call fails with ErrEnded.
func (l *link) stopInner() {
	if l.stop != nil {
		l.stop()
	}
}

// run lets the inner processor go on until it waits for the outer one or has returned.
func (l *link) run() {
	for {
		l.failure = errInner // holds if resume panics and somebody recovers
		r, waiting := l.resume()
		if l.failure == errInner { //nolint:errorlint // an inner chain's own failure wraps it and stands
			l.failure = nil
		}
		if !waiting {
			l.resume = nil
			return
		}
		if r.finish {
			return
		}
		l.response, l.err = l.x.Next(r.ctx, l.want, r.want)
	}
}

// next is the outer processor's Next.
func (l *link) next(ctx context.Context, want Want) (*Response, error) {
	if l.nexted {
		return nil, ErrNextTwice
	}
	l.nexted, l.want = true, want
	l.x.Request.Body.Rewind()
	l.startInner(ctx)
	l.run()
	switch {
	case l.local != nil:
		l.response = exchange.NewLocalResponse(l.local)
	case l.failure != nil:
		return nil, fmt.Errorf("inner processor: %w", l.failure)
	case l.response == nil && l.err != nil:
		return nil, l.err
	case l.response == nil:
		l.response, l.err = l.x.Next(ctx, want) // the inner one has seen all that it wanted
	}
	if l.response != nil {
		l.response.Body.Rewind()
	}
	return l.response, l.err
}

// finish releases the response and then lets the inner processor do its accounting.
func (l *link) finish(ctx context.Context) error {
	if l.released {
		return nil
	}
	if l.local != nil {
		var reply Reply
		if reply, l.err = l.reply(); l.err == nil {
			l.err = l.x.Reply(reply)
		} else {
			l.failure = l.err
		}
	} else {
		l.err = l.x.Finish(ctx)
	}
	l.released = true
	err := l.err
	if l.resume != nil {
		l.run()
		if err == nil {
			err = l.failure
		}
	}
	return err
}

// reply is the inner one's with the outer one's edits.
func (l *link) reply() (Reply, error) {
	reply := *l.local
	reply.Code, reply.Header = l.response.Status(), l.response.Header.HTTP()
	if err := l.response.Body.Err(); err != nil {
		return reply, err
	}
	var err error
	reply.Body, err = l.response.Body.Bytes(math.MaxInt32)
	return reply, err
}

// outerHost is the host of the outer processor's Exchange.
type outerHost struct {
	*link
	exchange.Forward
}

func (h outerHost) Next(ctx context.Context, want Want) (*Response, error) {
	if h.replied {
		return nil, ErrDone
	}
	return h.next(ctx, want)
}

func (h outerHost) Finish(ctx context.Context) error {
	if h.replied {
		return ErrDone
	}
	if !h.nexted {
		if _, err := h.next(ctx, 0); err != nil {
			return err
		}
	}
	return h.finish(ctx)
}

func (h outerHost) Reply(r Reply) error {
	err := h.x.Reply(r)
	h.replied = h.replied || err == nil
	return err
}

func (h outerHost) OpenReply(r *Reply) (exchange.ReplyBody, error) {
	body, err := h.Forward.OpenReply(r)
	h.replied = h.replied || err == nil
	return body, err
}

// innerHost is the host of the inner processor's Exchange.
type innerHost struct {
	exchange.Forward

	link     *link
	yield    func(request) bool
	nexted   bool
	finished bool
	reply    *Reply
}

func (h *innerHost) Next(ctx context.Context, want Want) (*Response, error) {
	switch {
	case h.reply != nil:
		return nil, ErrDone
	case h.nexted:
		return nil, ErrNextTwice
	}
	h.nexted = true
	if !h.yield(request{ctx: ctx, want: want}) {
		return nil, ErrEnded
	}
	return h.link.response, h.link.err
}

func (h *innerHost) Finish(ctx context.Context) error {
	if h.link.response == nil || !h.nexted {
		if _, err := h.Next(ctx, 0); err != nil {
			return err
		}
	}
	if h.finished {
		return nil
	}
	h.finished = true
	if !h.yield(request{finish: true, ctx: ctx}) {
		return ErrEnded
	}
	return h.link.err
}

func (h *innerHost) Reply(r Reply) error {
	switch {
	case h.finished:
		return ErrResponseStarted
	case h.reply != nil:
		return ErrDone
	}
	h.reply = &r
	return nil
}

// OpenReply: what an outer processor may edit is collected.
func (h *innerHost) OpenReply(*Reply) (exchange.ReplyBody, error) {
	return nil, fmt.Errorf("%w: a chain's inner replies aren't streamed", ErrNeeds)
}
