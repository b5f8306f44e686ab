package agent

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/experimental"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// Authorizer is what the gRPC services of an authorizer are made of.
type Authorizer struct {
	// Choose returns what judges a request; nil denies it.
	Choose func(*exchange.Request) exchange.Authorizer
	// NameOf names the policy that Choose has chosen; see [NewAudit].
	NameOf     func(*exchange.Request) string
	Health     healthpb.HealthServer
	Logger     *slog.Logger
	Registerer prometheus.Registerer // nil: no metrics
	Tracer     trace.Tracer          // nil: no spans
}

// HealthServices are the names under which health is asked; "" is the server as a whole.
func HealthServices() []string { return []string{"", "ext_authz", "ext_proc"} }

// Server returns a server with ext_authz, ext_proc and health.
func (a *Authorizer) Server(options ...grpc.ServerOption) *grpc.Server {
	server := NewAuthorizerServer(options...)
	audit := NewAudit(a.Logger, a.Registerer, a.NameOf)
	checks := []extauthz.Option{extauthz.WithLogger(a.Logger), extauthz.OnVerdict(audit.Verdict)}
	exchanges := []extproc.AuthorizerOption{extproc.WithLogger(a.Logger), extproc.OnVerdict(audit.Verdict)}
	if a.Tracer != nil {
		checks = append(checks, extauthz.OnCheck(beginSpan(a.Tracer, "ext_authz")))
		exchanges = append(exchanges, extproc.OnCheck(beginSpan(a.Tracer, "ext_proc")))
	}
	extauthz.NewServer(a.Choose, checks...).Register(server)
	extproc.NewServer(extproc.Authorize(a.Choose, exchanges...), extproc.WithLogger(a.Logger), extproc.WithName("gatehouse")).Register(server)
	healthpb.RegisterHealthServer(server, a.Health)
	return server
}

// NewAuthorizerServer returns a gRPC server with the limits and buffers of one that only Envoy calls.
func NewAuthorizerServer(options ...grpc.ServerOption) *grpc.Server {
	const window = 1 << 20 // set explicitly, it also spares the bandwidth probes
	return grpc.NewServer(append([]grpc.ServerOption{
		grpc.NumStreamWorkers(64), grpc.MaxConcurrentStreams(16384),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window),
		grpc.MaxRecvMsgSize(16 << 20), grpc.ForceServerCodecV2(wire.Codec{}), experimental.BufferPool(new(wire.Pool)),
	}, options...)...)
}

// grace is what calls under way have when a server stops.
const grace = time.Second

// StopServer lets calls under way finish for a second, then ends them. It doesn't wait for a check that hangs.
func StopServer(server *grpc.Server) {
	graceful := make(chan struct{})
	go func() {
		defer close(graceful)
		server.GracefulStop() // waits for every check, be it after Stop
	}()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-graceful:
	case <-timer.C:
		server.Stop()
	}
}
