package extproc

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Server runs a Processor for every stream. It is used concurrently and has nothing to close.
type Server struct {
	processor exchange.Processor
	log       *slog.Logger
	name      string
	failure   exchange.Reply
	sweeper   sweeper
	filter    exchange.FilterInfo
	latest    atomic.Pointer[description]
	admit     func() error
	release   func()
	observe   func(exchange.Outcome)
	declared  declaration
	keepAlive time.Duration
	left      bool
	slow      time.Duration
}

// An Option changes a Server.
type Option interface{ apply(*Server) }

type option func(*Server)

func (o option) apply(s *Server) { o(s) }

// A LoggerOption is an option of both a Server and [Authorize].
type LoggerOption interface {
	Option
	AuthorizerOption
}

type loggerOption struct{ log *slog.Logger }

func (o loggerOption) apply(s *Server)               { s.log = o.log }
func (o loggerOption) applyAuthorizer(a *authorizer) { a.decider.Log = o.log }

// WithLogger sends failures to log; the default is [slog.Default].
func WithLogger(log *slog.Logger) LoggerOption { return loggerOption{log} }

// WithName sets what stands in %RESPONSE_CODE_DETAILS% for replies without a Detail of their own, and
// in logs; the default is "processor".
func WithName(name string) Option { return option(func(s *Server) { s.name = name }) }

// WithFailure sets the failure verdict: what a client gets when the processor returns an error that is
// no Reply, panics or is too slow. The default is 503 "processor unavailable".
func WithFailure(reply exchange.Reply) Option { return option(func(s *Server) { s.failure = reply }) }

// LeaveFailuresToFilter has an exchange whose processor fails end with a gRPC error, in place of the failure
// verdict, so that the filter's failure_mode_allow decides: with that set, what the processor should have seen
// passes as if it weren't there. It is for processors that nobody's safety rests on. A [exchange.Reply] stays
// the answer, a response that has started is reset, and in body mode FULL_DUPLEX_STREAMED Envoy itself fails
// what has a body. The Outcome says Left.
func LeaveFailuresToFilter() Option { return option(func(s *Server) { s.left = true }) }

// DefaultDeadline is the deadline without [WithDeadline].
const DefaultDeadline = 10 * time.Second

// WithDeadline bounds how long Process may keep an exchange waiting between two calls of an Exchange's
// methods; time spent in Next doesn't count. Past it the client gets the failure verdict and Process's
// context is cancelled. It should be shorter than the filter's message_timeout; in body mode
// FULL_DUPLEX_STREAMED, where Envoy has no timer, nothing else ends a hung exchange. The default is
// [DefaultDeadline], zero or less is none, and it is kept to within a fifth.
//
// Where the filter's message_timeout is known ([exchange.FilterInfo.Timeout]), each message has to be answered
// within three quarters of it, too, however often Process calls. [WithKeepAlive] is about more.
func WithDeadline(d time.Duration) Option { return option(func(s *Server) { s.sweeper.limit = d }) }

// WithKeepAlive bounds how much longer Envoy is asked to wait when a processor is about to exceed the filter's
// message_timeout and the filter is known to allow it ([exchange.FilterInfo.KeepAlive]): that is done once for
// each message, in place of the failure verdict, which comes at three quarters of the additional time. Without
// the option it is as long as the filter allows; with zero nothing is asked for. [WithDeadline] bounds the whole.
func WithKeepAlive(d time.Duration) Option { return option(func(s *Server) { s.keepAlive = d }) }

// NewServer returns a Server for p. If p is an [exchange.NeedsProcessor], an exchange of a filter that is known
// not to give what it declares gets the failure verdict before p sees it: the Outcome's Err is an
// [exchange.ErrNeeds], and the log says, once, what to change in the filter.
func NewServer(p exchange.Processor, opts ...Option) *Server {
	s := &Server{
		processor: p, log: slog.Default(), name: "processor", failure: failureReply,
		sweeper: sweeper{limit: DefaultDeadline}, keepAlive: math.MaxInt64,
		admit: func() error { return nil }, release: func() {},
	}
	for _, o := range opts {
		o.apply(s)
	}
	s.declared.needs = exchange.NeedsOf(p)
	return s
}

// Name returns the name that the Server was given by [WithName].
func (s *Server) Name() string { return s.name }

// Register adds the service to registrar, a [grpc.Server] with any codec that speaks protobuf. Its
// receive limit should be above Envoy's buffer limit (1 MiB by default): a body message may be that large.
func (s *Server) Register(registrar grpc.ServiceRegistrar) { registrar.RegisterService(&service, s) }

type handler interface{ handle(t transport) error }

var service = grpc.ServiceDesc{
	ServiceName: "envoy.service.ext_proc.v3.ExternalProcessor",
	HandlerType: (*handler)(nil),
	Streams: []grpc.StreamDesc{{
		StreamName: "Process", ServerStreams: true, ClientStreams: true,
		Handler: func(srv any, t grpc.ServerStream) error {
			return srv.(handler).handle(t) //nolint:forcetypeassert // grpc has checked HandlerType
		},
	}},
	Metadata: "envoy/service/ext_proc/v3/external_processor.proto",
}

// transport is the part of a [grpc.ServerStream] that the engine needs. Messages are wire.Messages.
type transport interface {
	Context() context.Context
	RecvMsg(m any) error
	SendMsg(m any) error
}

var _ transport = grpc.ServerStream(nil)

// answers are buffers that answers are encoded in: grpc copies what it sends.
var answers = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch bounds what is kept.
const maxScratch = 128 << 10

// handle serves one stream. Its error, if any, is a reset.
func (s *Server) handle(t transport) (err error) {
	st := &stream{server: s, transport: t, ctx: callContext{parent: t.Context()}}
	defer st.ctx.end(context.Canceled)
	scratch := answers.Get().(*[]byte) //nolint:forcetypeassert // it has no others
	st.out = (*scratch)[:0]
	st.msg.memory = st.own.lines[:0]
	for i := range st.flows {
		st.flows[i].stream, st.flows[i].side = st, side(i)
		st.auto.sides[i].owed = st.own.owed[i][:0]
	}
	defer func() {
		// Process is guarded by itself; errors and hooks have methods too, which are the user's code.
		if p := recover(); p != nil {
			st.logPanic(p)
			err = errReset
		}
	}()
	err = st.run()
	for i := range st.flows {
		st.flows[i].end()
	}
	st.completed()
	if *scratch = st.out; cap(*scratch) <= maxScratch {
		answers.Put(scratch)
	}
	return err
}
