package extauthz

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/verdict"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// Server answers CheckRequests. It is used concurrently and has nothing to close.
type Server struct {
	decider verdict.Decider
}

// An Option changes a Server.
type Option interface{ apply(*Server) }

type option func(*Server)

func (o option) apply(s *Server) { o(s) }

// WithLogger sends failures (errors, panics, requests and verdicts that make no sense) to log; the
// default is [slog.Default]. Denials are no failures: see [OnVerdict].
func WithLogger(log *slog.Logger) Option { return option(func(s *Server) { s.decider.Log = log }) }

// OnVerdict calls observe with every verdict just before it is sent, concurrently, and the time it took.
// What stands in for a failed authorizer is a verdict too, with a reason such as [exchange.ReasonError].
// A request that could not be read is an empty one. observe must not keep the request or edit it; the
// answer waits for it. Where the option is given several times, all are called.
func OnVerdict(observe func(ctx context.Context, r *exchange.Request, v exchange.Verdict, took time.Duration)) Option {
	return option(func(s *Server) { s.decider.Tell(observe) })
}

// OnCheck calls begin with every request before its authorizer is chosen, concurrently. The check and the
// observers of [OnVerdict] run in the context that it returns: ctx with a span, say. A request that could
// not be read is an empty one. begin must not keep the request or edit it; the answer waits for it, and a panic
// of it changes nothing. Where the option is given several times, each gets the context of the one before.
func OnCheck(begin func(ctx context.Context, r *exchange.Request) context.Context) Option {
	return option(func(s *Server) { s.decider.Before(begin) })
}

// NewServer returns a Server that has each request decided by the Authorizer that choose returns for it;
// nil denies with 503. choose is called concurrently and should go by [exchange.Request.Extension],
// which the proxy's configuration sets, never by what the client sent.
func NewServer(choose func(*exchange.Request) exchange.Authorizer, opts ...Option) *Server {
	s := &Server{decider: verdict.Decider{Choose: choose, Log: slog.Default()}}
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
	check(ctx context.Context, c *call)
}

// call is one request from its bytes to the answer's, in one piece of memory.
type call struct {
	wire.Message

	decoded decoded
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
	c := new(call)
	if err := dec(&c.Message); err != nil {
		return nil, err
	}
	server := srv.(checker) //nolint:forcetypeassert // grpc has checked HandlerType
	if intercept == nil {
		server.check(ctx, c)
		return &c.Message, nil
	}
	info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/envoy.service.auth.v3.Authorization/Check"}
	return intercept(ctx, &c.Message, info, func(ctx context.Context, req any) (any, error) {
		message, ok := req.(*wire.Message)
		if !ok {
			return nil, status.Error(codes.Internal, "an interceptor replaced the request")
		}
		c.Text = message.Text
		server.check(ctx, c)
		return &c.Message, nil
	})
}

// check makes the message that was received the answer.
func (s *Server) check(ctx context.Context, c *call) {
	c.Out = s.decide(ctx, c.Text, &c.decoded, c.Buffer())
}

// Decide appends the CheckResponse to the serialized CheckRequest msg to dst: the whole service without
// its transport. It always has an answer.
func (s *Server) Decide(ctx context.Context, msg string, dst []byte) []byte {
	return s.decide(ctx, msg, new(decoded), dst)
}

func (s *Server) decide(ctx context.Context, msg string, d *decoded, dst []byte) []byte {
	start := time.Now()
	request := &d.request
	malformed := d.decode(msg)
	if malformed != nil {
		request = new(exchange.Request)
	}
	ctx = s.decider.Begin(ctx, request)
	var v exchange.Verdict
	if malformed == nil {
		v = s.decider.Decide(ctx, request)
	} else {
		s.decider.Log.WarnContext(ctx, "ext_authz request refused", "error", malformed)
		v = verdict.Failed(exchange.ReasonMalformed)
	}
	out, err := appendAnswer(dst, request, &v)
	if err != nil {
		v = s.decider.Unsendable(ctx, v, err)
		out = appendDenied(dst, v.Reply)
	}
	s.decider.Report(ctx, request, v, start)
	return out
}
