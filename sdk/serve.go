package sdk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/health"
	"github.com/gatehouse-proxy/gatehouse/internal/unixsocket"
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
// one is an error unless [WithTakeover] is given, and only this user may connect to it, unless
// [WithSocketMode] says otherwise.
//
// When ctx is done the health service says NOT_SERVING and ends its watchers, no new exchanges are taken
// (GOAWAY), and those that are open may end within the time of [WithDrain]. Serve then returns nil. An
// error means that it could not listen, that files of [WithTLS] can't be used, that p is neither, that the
// warm-up failed, or that the listener failed.
func Serve(ctx context.Context, addr string, p any, opts ...ServerOption) error {
	s := settings{log: slog.Default(), drain: DefaultDrain, socketMode: DefaultSocketMode}
	for _, o := range opts {
		o.apply(&s)
	}
	server, err := s.build(ctx, p)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, addr, s.socketMode, s.takeover)
	if err != nil {
		server.page.close()
		return err
	}
	if l, ok := listener.(*unixsocket.Listener); ok {
		server.publish, server.retire = l.Publish, l.Retire
	}
	stop := server.page.run(&s)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.grpc.Serve(listener) }()
	if err := s.untilDone(ctx, server, listener.Addr().String(), failed); err != nil {
		server.grpc.Stop()
		_ = listener.Close() // by us if the server hadn't come to it yet; a second time harms nothing
		return fmt.Errorf("serve %s: %w", addr, err)
	}
	s.log.InfoContext(ctx, "draining", "limit", s.drain)
	server.health.Drain()
	s.stop(ctx, server)
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", addr, err)
	}
	return nil
}

// server is what Serve runs.
type server struct {
	grpc   *grpc.Server
	health *health.Server
	names  []string
	ready  []*admission
	page   *metricsServer
	// publish has clients find the server, where they don't yet.
	publish func() error
	// retire has everybody who has found the server be served before it stops.
	retire func(context.Context) error
}

// untilDone takes the server from listening to ready, and returns nil when it is told to stop.
func (s *settings) untilDone(ctx context.Context, server *server, addr string, failed <-chan error) error {
	warm := make(chan error, 1)
	go func() {
		if s.warmup == nil {
			warm <- nil
			return
		}
		s.log.InfoContext(ctx, "warming up", "address", addr)
		warm <- s.warmup(ctx)
	}()
	for {
		select {
		case err := <-warm:
			switch {
			case err != nil && ctx.Err() == nil:
				return fmt.Errorf("warm-up: %w", err)
			case err == nil && ctx.Err() == nil:
				if err := s.announce(ctx, server, addr); err != nil {
					return err
				}
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *settings) announce(ctx context.Context, server *server, addr string) error {
	for _, a := range server.ready {
		a.ready.Store(true)
	}
	server.health.Serve()
	if err := server.publish(); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "serving", "address", addr, "services", server.names)
	if s.ready != nil {
		s.ready(addr)
	}
	return nil
}

// build makes the gRPC server with its services.
func (s *settings) build(ctx context.Context, p any) (*server, error) {
	options := s.defaults()
	if s.tls != nil {
		config, err := loadTLS(*s.tls, s.log)
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	instruments, page, err := s.instruments(ctx, p)
	if err != nil {
		return nil, err
	}
	if instruments != nil {
		options = append(options, grpc.ChainStreamInterceptor(instruments.measure))
	}
	made := &server{grpc: grpc.NewServer(append(options, s.grpc...)...), page: page, publish: func() error { return nil }, retire: func(context.Context) error { return nil }}
	if made.names = s.register(made, p, instruments); made.names == nil {
		page.close()
		return nil, fmt.Errorf("serve: %T is neither a Processor nor an Authorizer", p)
	}
	made.health = health.New(append(made.names, "")...)
	healthv1.RegisterHealthServer(made.grpc, made.health)
	return made, nil
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

// register adds the services that p is good for and returns their names.
func (s *settings) register(to *server, p any, m *metrics) (names []string) {
	if processor, ok := p.(Processor); ok {
		a := s.admission(to)
		opts := []extproc.Option{extproc.WithLogger(s.log), extproc.WithAdmission(a.admit, a.release)}
		if a.adaptive != nil {
			opts = append(opts, extproc.OnOutcome(a.outcome))
		}
		if m != nil {
			opts = append(opts, extproc.OnOutcome(m.outcome))
		}
		if s.tracer != nil {
			processor = tracedProcessor{processor, s.trace()}
		}
		served := extproc.NewServer(processor, append(opts, s.extproc...)...)
		if m != nil {
			m.bind(served)
			a.shed = m.sheds.Inc
			a.measure(m.limit)
		}
		served.Register(to.grpc)
		names = append(names, HealthExtProc)
	}
	if authorizer, ok := p.(Authorizer); ok {
		a := s.admission(to)
		opts := []extauthz.Option{extauthz.WithLogger(s.log)}
		if m != nil {
			a.shed = m.authShed.Inc
			a.measure(m.authLimit)
			opts = append(opts, extauthz.OnVerdict(m.verdict))
		}
		if s.tracer != nil {
			authorizer = tracedAuthorizer{authorizer, s.trace()}
		}
		authorizer = admitted{authorizer, a}
		extauthz.NewServer(extauthz.Always(authorizer), append(opts, s.authz...)...).Register(to.grpc)
		names = append(names, HealthExtAuthz)
	}
	return names
}

func (s *settings) admission(to *server) *admission {
	a := &admission{limit: int64(s.exchanges), shed: func() {}, reply: s.shedReply}
	if s.adaptive != nil {
		a.adaptive = newAdaptive(*s.adaptive)
	}
	to.ready = append(to.ready, a)
	return a
}

// stop lets open streams end, within bounds.
func (s *settings) stop(ctx context.Context, server *server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.drain)
	defer cancel()
	if err := server.retire(ctx); err != nil {
		s.log.WarnContext(ctx, "who has just connected may be cut off", "error", err)
	}
	graceful := make(chan struct{})
	go func() {
		server.grpc.GracefulStop()
		close(graceful)
	}()
	select {
	case <-graceful:
	case <-ctx.Done():
		s.log.WarnContext(ctx, "cutting off what is still open")
		server.grpc.Stop() // and GracefulStop goes on waiting for a call that hangs, which nobody should
	}
}
