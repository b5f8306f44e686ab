package extproc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// values are what an exchange shows to its Processor, in the stream's own memory: one allocation for all.
type values struct {
	exchange exchange.Exchange
	request  exchange.Request
	response exchange.Response
	lines    [24]exchange.Field
	edited   [2][4]string // what the headers' edits are noted in
	owed     [2][4]kind
}

// stream serves one exchange in the goroutine of its gRPC handler. Only the sweeper touches it from
// another one, under the rules of the field busy.
type stream struct {
	server    *Server
	transport transport
	ctx       callContext
	auto      automaton
	incoming  chan received // set once a receiving goroutine is needed
	in        wire.Message
	msg       message
	answering wire.Message
	out       []byte // reused: the codec copies what is sent

	request    *exchange.Request
	response   *exchange.Response // nil before its headers arrived
	attributes attributes
	contexts   string         // the latest metadata_context
	metadata   map[string]any // to emit with the next answer
	merged     []byte         // fields to add to the next answer
	first      [2]string      // the message with the headers
	hooks      []func(exchange.Outcome)
	filter     exchange.FilterInfo
	want       exchange.Want
	reading    context.Context // bounds reads of the response's body
	flows      [2]flow
	outcome    exchange.Outcome

	overrides bool    // Envoy honours mode overrides
	noWait    bool    // bodies don't wait for the headers' answer
	nexted    bool    // Next was called
	started   bool    // the response's headers are out
	ended     bool    // Envoy is gone
	done      bool    // Process has returned
	staged    bool    // a body's function runs
	replying  bool    // a streamed reply has begun and not ended
	isLocal   bool    // the response was made before the request reached the filter
	extended  [2]bool // the message that is owed an answer has a longer timeout
	broken    error   // what went wrong with a body, whatever Process makes of it

	// busy is the time since when Process's own code runs, in nanoseconds since 1970; inside while the
	// engine runs, paused while the sweeper has Envoy wait for longer, and swept once the sweeper has taken
	// the exchange over, which is final. Who moves it away from a time may use the stream.
	busy atomic.Int64
	// limit is how long Process may keep the exchange waiting, in nanoseconds; 0 is for ever.
	limit atomic.Int64
	// asked is since when a side's oldest unanswered message is in Process's hands, and due when Envoy has to
	// have the answer; 0 is neither. Both are as busy.
	asked, due [2]atomic.Int64
	watched    bool // the sweeper looks at limit
	// sweeping is held by the sweeper while it sends.
	sweeping sync.Mutex

	own values
}

const (
	inside = 0
	swept  = -1
	paused = -2
)

var (
	errInside    = errors.New("called from a body's function")
	errOpenReply = errors.New("a streamed reply was not ended")
	errPanic     = exchange.ErrPanicked
	errSlow      = exchange.ErrTooSlow
	// errReset is all that Envoy gets to know: the text reaches access logs.
	errReset = status.Error(codes.Aborted, "processor failed after the response had started")
	errLeft  = status.Error(codes.Unavailable, "processor failed")
)

// run serves the exchange to its end.
func (s *stream) run() error {
	m, err := s.receive(&s.ctx)
	switch {
	case errors.Is(err, exchange.ErrEnded):
		return nil
	case err != nil:
		return s.conclude(err)
	}
	s.auto.configure(m)
	s.learn(m)
	if !s.auto.arrive(m) {
		return nil
	}
	switch m.kind {
	case requestHeaders:
	case responseHeaders, responseBody, responseTrailers:
		return s.local(m)
	default:
		return s.conclude(fmt.Errorf("%w: request headers are not sent", exchange.ErrNeeds))
	}
	s.attributes.add(m.attributes)
	s.first[requestSide] = m.raw
	if err := s.server.admit(); err != nil {
		return s.refuse(err)
	}
	defer s.server.release()
	if err := s.contradicted(); err != nil {
		return s.refuse(err)
	}
	s.flows[requestSide].bodiless = m.endOfStream
	s.newRequest(m)
	return s.serve(func(ctx context.Context) error {
		s.own.exchange.Init(s.request, s)
		return s.server.processor.Process(ctx, &s.own.exchange)
	})
}

// serve has the Processor's process see the exchange, and ends it.
func (s *stream) serve(process func(context.Context) error) error {
	s.limit.Store(int64(s.server.sweeper.limit))
	s.leave()
	s.server.sweeper.add(s)
	defer s.server.sweeper.remove(s)
	return s.conclude(s.guard(process))
}

// guard runs process and takes the exchange back from it.
func (s *stream) guard(process func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(p)
			err = errPanic
		}
		if !s.reenter() {
			s.awaitSweeper()
			err = errSlow
		}
		s.done = true
	}()
	return process(&s.ctx)
}

// conclude does what is left to do after Process: release, reply or reset, and pump until the stream
// may be closed.
func (s *stream) conclude(err error) error {
	if err == nil && !s.ended && !s.auto.replied {
		err = s.release()
	}
	if err == nil {
		err = s.drain()
	}
	if s.replying && !s.ended {
		if err == nil {
			err = errOpenReply
		}
		s.note(err)
		return errReset // an OK close would leave the client waiting
	}
	if err == nil || s.ended || s.auto.replied {
		s.note(err)
		return nil
	}
	if s.auto.mute {
		s.note(err)
		return nil
	}
	reply, failed := s.verdict(err)
	switch {
	case s.started:
		s.note(err)
		return errReset
	case failed && s.server.left:
		return s.leaveFailure()
	}
	s.reply(reply)
	return nil
}

// leaveFailure has the filter's failure mode decide.
func (s *stream) leaveFailure() error {
	s.outcome.Left = true
	return errLeft
}

// verdict is the reply that an error stands for; failed says that it is the failure verdict.
func (s *stream) verdict(err error) (reply *exchange.Reply, failed bool) {
	switch {
	case errors.As(err, &reply) && reply != nil:
		if reply.Cause != nil {
			s.server.log.WarnContext(&s.ctx, "processor replied", "processor", s.server.name, "code", reply.Status(), "cause", reply.Cause)
		}
		return reply, false
	case errors.Is(err, exchange.ErrTooLarge):
		return exchange.Deny(http.StatusRequestEntityTooLarge, "body too large"), false
	case errors.Is(err, exchange.ErrNeeds), errors.Is(err, exchange.ErrBadEdit):
		s.outcome.Prevented++
	}
	s.server.log.ErrorContext(&s.ctx, "processor failed", "processor", s.server.name, "error", err, "response_started", s.started)
	s.outcome.Err = err
	failure := s.server.failure
	return &failure, true
}

// note records an error that is not answered by a reply.
func (s *stream) note(err error) {
	switch {
	case err != nil && isReply(err):
		// Process returned the reply that it had already sent, or one that nobody waits for.
	case err != nil:
		s.outcome.Err = err
	case s.ended && !s.flows[responseSide].released:
		s.outcome.Err = exchange.ErrEnded
	}
}

func isReply(err error) bool {
	var reply *exchange.Reply
	return errors.As(err, &reply)
}

// completed runs the hooks, once.
func (s *stream) completed() {
	if s.outcome.Status == 0 && s.response != nil {
		s.outcome.Status = s.response.Status()
	}
	for i := range s.flows {
		if s.flows[i].ended && s.flows[i].rewritten() {
			s.outcome.Edits++
		}
	}
	s.logSlow()
	for _, hook := range s.hooks {
		s.complete(hook)
	}
	if s.server.observe != nil && !s.isLocal && (s.request != nil || s.outcome.Err != nil) {
		s.complete(s.server.observe)
	}
}

func (s *stream) complete(hook func(exchange.Outcome)) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(p)
		}
	}()
	hook(s.outcome)
}

// enter begins a call from Process's code into the engine.
func (s *stream) enter() error {
	if s.done {
		return exchange.ErrDone
	}
	if !s.reenter() {
		return errSlow
	}
	return nil
}

// reenter gives control back to the engine, unless the sweeper has it.
func (s *stream) reenter() bool {
	for {
		switch since := s.since(); {
		case since == swept:
			return false
		case s.busy.CompareAndSwap(since, inside):
			s.outcome.Held += time.Duration(time.Now().UnixNano() - since)
			return true
		}
	}
}

// since is the time since when Process runs, or swept.
func (s *stream) since() int64 {
	for {
		since := s.busy.Load()
		if since != paused {
			return since
		}
		s.awaitSweeper()
	}
}

// awaitSweeper returns when the sweeper, which may be sending, is done with the stream.
func (s *stream) awaitSweeper() {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
}

// fail notes what stays the verdict whatever Process makes of it.
func (s *stream) fail(err error) error {
	if s.broken == nil {
		s.broken = err
	}
	return err
}

// leave gives control to Process's code.
func (s *stream) leave() {
	now := time.Now().UnixNano()
	s.mark(now)
	s.busy.Store(now)
}

// logPanic logs the stack, and the panic's text only where the runtime wrote it: user code's may quote
// what a client sent.
func (s *stream) logPanic(p any) { s.logPanicOf(p, debug.Stack()) }

func (s *stream) logPanicOf(p any, stack []byte) {
	text := fmt.Sprintf("%T", p)
	if err, ok := p.(runtime.Error); ok {
		text = err.Error()
	}
	s.server.log.ErrorContext(&s.ctx, "processor panicked", "processor", s.server.name, "panic", text, "stack", string(stack))
}
