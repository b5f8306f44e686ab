package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// The names under which the health service answers, beside the empty name for the whole server.
const (
	// HealthExtProc is the health of a Processor.
	HealthExtProc = "ext_proc"
	// HealthExtAuthz is the health of an Authorizer.
	HealthExtAuthz = "ext_authz"
)

const (
	// maxMessage is above any buffer limit that Envoy is likely to have; grpc's default of 4 MiB fails
	// larger buffered bodies with a 500.
	maxMessage = 64 << 20
	// window is large enough for a 1 MiB chunk, and a fixed one saves grpc's bandwidth probes.
	window = 1 << 20
	// streamWorkers reuse grown stacks, which otherwise cost a third of the CPU time.
	streamWorkers = 64
)

// Serve serves p, a [Processor] (as ext_proc) or an [Authorizer] (as ext_authz) or both in one, over gRPC
// at addr until ctx is done. addr is host:port, or unix:/path: a stale socket there is replaced, a live
// one is an error, and only this user may connect to it.
//
// When ctx is done the health service says NOT_SERVING, no new exchanges are taken, and those that are
// open may end within the time of [WithDrain]. Serve then returns nil. An error means that it could not
// listen, that p is neither, or that the listener failed.
func Serve(ctx context.Context, addr string, p any, opts ...ServerOption) error {
	s := settings{log: slog.Default(), drain: DefaultDrain}
	for _, o := range opts {
		o.apply(&s)
	}
	server := grpc.NewServer(append(s.defaults(), s.grpc...)...)
	state := health.NewServer()
	names, err := s.register(server, p)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	healthv1.RegisterHealthServer(server, state)
	for _, name := range append(names, "") {
		state.SetServingStatus(name, healthv1.HealthCheckResponse_SERVING)
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	address := listener.Addr().String()
	s.log.InfoContext(ctx, "serving", "address", address, "services", names)
	if s.ready != nil {
		s.ready(address)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", addr, err)
	case <-ctx.Done():
	}
	s.log.InfoContext(ctx, "draining", "limit", s.drain)
	state.Shutdown()
	s.stop(server)
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", addr, err)
	}
	return nil
}

func (s *settings) defaults() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(math.MaxInt32),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.NumStreamWorkers(streamWorkers),
		// Envoy's own keep-alive pings must not look like an attack, and a dead peer's connection must
		// not stay for ever.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
	}
}

func (s *settings) register(server *grpc.Server, p any) (names []string, err error) {
	if processor, ok := p.(Processor); ok {
		opts := append([]extproc.Option{extproc.WithLogger(s.log)}, s.extproc...)
		extproc.NewServer(processor, opts...).Register(server)
		names = append(names, HealthExtProc)
	}
	if authorizer, ok := p.(Authorizer); ok {
		opts := append([]extauthz.Option{extauthz.WithLogger(s.log)}, s.authz...)
		extauthz.NewServer(extauthz.Always(authorizer), opts...).Register(server)
		names = append(names, HealthExtAuthz)
	}
	if names == nil {
		return nil, fmt.Errorf("serve: %T is neither a Processor nor an Authorizer", p)
	}
	return names, nil
}

// stop lets open streams end, within bounds.
func (s *settings) stop(server *grpc.Server) {
	graceful := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(graceful)
	}()
	timer := time.NewTimer(s.drain)
	defer timer.Stop()
	select {
	case <-graceful:
	case <-timer.C:
		s.log.Warn("cutting off what is still open")
		server.Stop()
		<-graceful
	}
}
