package extauthz

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// Server answers CheckRequests. It is used concurrently and has nothing to close.
type Server struct {
	choose  func(*exchange.Request) exchange.Authorizer
	log     *slog.Logger
	observe func(context.Context, *exchange.Request, exchange.Verdict, time.Duration)
}

// An Option changes a Server.
type Option interface{ apply(*Server) }

type option func(*Server)

func (o option) apply(s *Server) { o(s) }

// WithLogger sends failures (errors, panics, requests and verdicts that make no sense) to log; the
// default is [slog.Default]. Denials are no failures: see [OnVerdict].
func WithLogger(log *slog.Logger) Option { return option(func(s *Server) { s.log = log }) }

// OnVerdict calls observe with every verdict just before it is sent, concurrently, and the time it took.
// What stands in for a failed authorizer is a verdict too, with one of the reasons below. A request
// that could not be read is an empty one. observe must not keep the request or edit it; the answer waits
// for it. Where the option is given several times, all are called.
func OnVerdict(observe func(ctx context.Context, r *exchange.Request, v exchange.Verdict, took time.Duration)) Option {
	return option(func(s *Server) {
		before := s.observe
		if before == nil {
			s.observe = observe
			return
		}
		s.observe = func(ctx context.Context, r *exchange.Request, v exchange.Verdict, took time.Duration) {
			before(ctx, r, v, took)
			observe(ctx, r, v, took)
		}
	})
}

// The Reason of verdicts that the engine made itself.
const (
	// ReasonMalformed: the CheckRequest is malformed or ambiguous.
	ReasonMalformed = "malformed_request"
	// ReasonNoAuthorizer: none was chosen for the request.
	ReasonNoAuthorizer = "no_authorizer"
	// ReasonError: the authorizer returned an error that is no Reply.
	ReasonError = "authorizer_error"
	// ReasonPanic: the authorizer panicked.
	ReasonPanic = "authorizer_panic"
	// ReasonUnsendable: the verdict holds what no answer can say.
	ReasonUnsendable = "unsendable_verdict"
)

// NewServer returns a Server that has each request decided by the Authorizer that choose returns for it;
// nil denies with 503. choose is called concurrently and should go by [exchange.Request.Extension],
// which the proxy's configuration sets, never by what the client sent.
func NewServer(choose func(*exchange.Request) exchange.Authorizer, opts ...Option) *Server {
	s := &Server{choose: choose, log: slog.Default()}
	for _, o := range opts {
		o.apply(s)
	}
	return s
}

// Always chooses a for every request.
func Always(a exchange.Authorizer) func(*exchange.Request) exchange.Authorizer {
	return func(*exchange.Request) exchange.Authorizer { return a }
}

// Register adds the service to registrar, a [grpc.Server] with any codec that speaks protobuf.
func (s *Server) Register(registrar grpc.ServiceRegistrar) { registrar.RegisterService(&service, s) }

type checker interface {
	check(ctx context.Context, in *wire.Message) *wire.Message
}

var service = grpc.ServiceDesc{
	ServiceName: "envoy.service.auth.v3.Authorization",
	HandlerType: (*checker)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Check", Handler: handle}},
	Metadata:    "envoy/service/auth/v3/external_auth.proto",
}

// handle has the signature of [grpc.MethodDesc].
//
//nolint:revive // which has the context second
func handle(srv any, ctx context.Context, dec func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	in := new(wire.Message)
	if err := dec(in); err != nil {
		return nil, err
	}
	server := srv.(checker) //nolint:forcetypeassert // grpc has checked HandlerType
	if intercept == nil {
		return server.check(ctx, in), nil
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/envoy.service.auth.v3.Authorization/Check"}
	return intercept(ctx, in, info, func(ctx context.Context, req any) (any, error) {
		message, ok := req.(*wire.Message)
		if !ok {
			return nil, status.Error(codes.Internal, "an interceptor replaced the request")
		}
		return server.check(ctx, message), nil
	})
}

func (s *Server) check(ctx context.Context, in *wire.Message) *wire.Message {
	return &wire.Message{Out: s.Decide(ctx, in.Text, nil)}
}

// Decide appends the CheckResponse to the serialized CheckRequest msg to dst: the whole service without
// its transport. It always has an answer.
func (s *Server) Decide(ctx context.Context, msg string, dst []byte) []byte {
	start := time.Now()
	var verdict exchange.Verdict
	request, err := decode(msg)
	if err != nil {
		s.log.WarnContext(ctx, "ext_authz request refused", "error", err)
		request, verdict = new(exchange.Request), failed(ReasonMalformed)
	} else {
		verdict = s.decide(ctx, request)
	}
	out, err := appendAnswer(dst, request, &verdict)
	if err != nil {
		s.log.ErrorContext(ctx, "verdict can't be sent, denying", "error", err, "reason", verdict.Reason)
		verdict = failed(ReasonUnsendable)
		out = appendDenied(dst, verdict.Reply)
	}
	if s.observe != nil {
		s.report(ctx, request, verdict, time.Since(start))
	}
	return out
}

func (s *Server) decide(ctx context.Context, r *exchange.Request) (verdict exchange.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(ctx, "authorizer panicked, denying", p)
			verdict = failed(ReasonPanic)
		}
	}()
	authorizer := s.choose(r)
	if authorizer == nil {
		return failed(ReasonNoAuthorizer)
	}
	verdict, err := authorizer.Check(ctx, r)
	if err != nil {
		return s.failure(ctx, err)
	}
	return verdict
}

// failure is the verdict that an error stands for.
func (s *Server) failure(ctx context.Context, err error) exchange.Verdict {
	var reply *exchange.Reply
	switch {
	case errors.As(err, &reply) && reply != nil:
		if reply.Cause != nil {
			s.log.WarnContext(ctx, "authorizer replied", "code", reply.Status(), "cause", reply.Cause)
		}
		return exchange.Verdict{Reply: reply, Reason: "reply"}
	case errors.Is(err, exchange.ErrTooLarge):
		return exchange.Verdict{
			Reply:  exchange.Deny(http.StatusRequestEntityTooLarge, "request body too large"),
			Reason: "body_too_large",
		}
	}
	s.log.ErrorContext(ctx, "authorizer failed, denying", "error", err)
	return failed(ReasonError)
}

func failed(reason string) exchange.Verdict {
	return exchange.Verdict{
		Reply:  exchange.Deny(http.StatusServiceUnavailable, "authorization unavailable"),
		Reason: reason,
	}
}

func (s *Server) report(ctx context.Context, r *exchange.Request, v exchange.Verdict, took time.Duration) {
	defer func() {
		if p := recover(); p != nil {
			s.logPanic(ctx, "observer of verdicts panicked", p)
		}
	}()
	s.observe(ctx, r, v, took)
}

// logPanic logs the stack, and the panic's text only where the runtime wrote it: user code's may quote
// a credential.
func (s *Server) logPanic(ctx context.Context, msg string, p any) {
	text := fmt.Sprintf("%T", p)
	if err, ok := p.(runtime.Error); ok {
		text = err.Error()
	}
	s.log.ErrorContext(ctx, msg, "panic", text, "stack", string(debug.Stack()))
}
