package sdk

import (
	"context"
	"io/fs"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// A ServerOption changes what [Serve] does. Of two that say different things the later counts.
type ServerOption interface{ apply(*settings) }

type serverOption func(*settings)

func (o serverOption) apply(s *settings) { o(s) }

type settings struct {
	log        *slog.Logger
	drain      time.Duration
	socketMode fs.FileMode
	tls        *TLS
	grpc       []grpc.ServerOption
	extproc    []extproc.Option
	authz      []extauthz.Option
	ready      func(addr string)
	warmup     func(context.Context) error
	exchanges  int
	adaptive   *Adaptive
	takeover   bool
	shedReply  *Reply
	registry   prometheus.Registerer
	metricsAt  string
	metricsOn  func(addr string)
	tracer     trace.TracerProvider
}

// WithLogger sends everything that is logged to log; the default is [slog.Default].
func WithLogger(log *slog.Logger) ServerOption {
	return serverOption(func(s *settings) { s.log = log })
}

// DefaultDrain is the time for draining without [WithDrain].
const DefaultDrain = 10 * time.Second

// WithDrain bounds how long open exchanges may take to end once the server is told to stop; then they
// are cut off, which in Envoy is the filter's failure mode or a reset. The default is [DefaultDrain].
func WithDrain(d time.Duration) ServerOption { return serverOption(func(s *settings) { s.drain = d }) }

// DefaultSocketMode is the mode of a Unix socket without [WithSocketMode]: this user only.
const DefaultSocketMode fs.FileMode = 0o600

// WithSocketMode sets the mode of a Unix socket, so that an Envoy of another user can connect: 0660 with
// a common group. Whoever can connect can be a proxy, and sees what the processor does to a request. It
// doesn't matter to a TCP address.
func WithSocketMode(mode fs.FileMode) ServerOption {
	return serverOption(func(s *settings) { s.socketMode = mode.Perm() })
}

// WithTLS serves over TLS, and with files.ClientCA to clients with a certificate only. Without it Serve
// speaks plain text, which is for Unix sockets and loopback.
func WithTLS(files TLS) ServerOption { return serverOption(func(s *settings) { s.tls = &files }) }

// WithGRPC passes options to the gRPC server, after the SDK's own, of which they replace what they set
// again: grpc.MaxRecvMsgSize (64 MiB, since a buffered body comes as one message),
// grpc.MaxConcurrentStreams (none; of one connection, and Envoy opens more of them), keep-alive.
// Interceptors are added by grpc.ChainStreamInterceptor and grpc.ChainUnaryInterceptor.
func WithGRPC(opts ...grpc.ServerOption) ServerOption {
	return serverOption(func(s *settings) { s.grpc = append(s.grpc, opts...) })
}

// WithProcessor passes options to the ext_proc engine. They matter only to a [Processor].
func WithProcessor(opts ...extproc.Option) ServerOption {
	return serverOption(func(s *settings) { s.extproc = append(s.extproc, opts...) })
}

// WithAuthorizer passes options to the ext_authz engine. They matter only to an [Authorizer].
func WithAuthorizer(opts ...extauthz.Option) ServerOption {
	return serverOption(func(s *settings) { s.authz = append(s.authz, opts...) })
}

// WithTakeover has the server take a Unix socket over from another that still serves it, such as its former
// version: new connections come to it once it is ready, after the warm-up, and at no time is there nobody to
// connect to. The other one keeps the connections that it has until it is told to stop; that it drains then
// (GOAWAY) has Envoy connect to the new one. A stream that Envoy opens in the very moment of the GOAWAY it refuses
// itself; a retry_policy of the filter's grpc_service with retry_on "refused-stream,connect-failure", which
// [EnvoyConfig] prints, opens it again at the new server, and then no request fails. Without the option a
// socket in use is an error, so that a server that is started twice by mistake is noticed. It doesn't matter
// to a TCP address.
func WithTakeover() ServerOption { return serverOption(func(s *settings) { s.takeover = true }) }

// WithMaxExchanges bounds how many exchanges a Processor serves at a time, and how many checks an
// Authorizer. One more is not queued, it gets the failure verdict (503) at once: who waits behind a full
// server times out, and costs it more. Zero, the default, is no bound.
func WithMaxExchanges(n int) ServerOption {
	return serverOption(func(s *settings) { s.exchanges = n })
}

// WithAdaptiveExchanges bounds how many exchanges, or checks, are served at a time by how long they take; see
// [Adaptive]. What is more is refused as by [WithMaxExchanges], whose bound holds too.
func WithAdaptiveExchanges(a Adaptive) ServerOption {
	return serverOption(func(s *settings) { s.adaptive = &a })
}

// WithShedReply sets what the client of a refused exchange, or check, gets, such as 429 with a Retry-After;
// without it that is the failure verdict.
func WithShedReply(r Reply) ServerOption { return serverOption(func(s *settings) { s.shedReply = &r }) }

// WithWarmup has Serve run warm, with a context that ends when Serve is told to, before it serves
// anything. Meanwhile it listens, the health service says NOT_SERVING, and exchanges get the failure
// verdict. An error of warm ends Serve.
func WithWarmup(warm func(ctx context.Context) error) ServerOption {
	return serverOption(func(s *settings) { s.warmup = warm })
}

// WithMetrics registers the server's metrics with r. Several servers may share one: their numbers add
// up. Without it and [WithMetricsListener] nothing is measured.
func WithMetrics(r prometheus.Registerer) ServerOption {
	return serverOption(func(s *settings) { s.registry = r })
}

// WithMetricsListener serves the server's metrics in Prometheus' text format at http://addr/metrics, for
// as long as Serve runs: those of this server, of the Go runtime and of the process. listening, if not
// nil, is called with the address that is listened on. With [WithMetrics] the page is what that
// Registerer has, which must be a [prometheus.Gatherer] too. It is plain HTTP without credentials.
func WithMetricsListener(addr string, listening func(addr string)) ServerOption {
	return serverOption(func(s *settings) { s.metricsAt, s.metricsOn = addr, listening })
}

// WithTracing makes a span for every exchange and every check, of a tracer of p; nil is the global
// provider of package otel. The parent is the span that Envoy names in the gRPC metadata, else that of
// the request's own traceparent (W3C Trace Context), else of its B3 headers. The context that Process and Check get carries it.
// Without the option there are no spans.
func WithTracing(p trace.TracerProvider) ServerOption {
	return serverOption(func(s *settings) { s.tracer = provider(p) })
}

// OnReady has ready called once, with the address that is listened on, when requests can come: after the
// warm-up, if there is one. With port 0 that is how to learn the port.
func OnReady(ready func(addr string)) ServerOption {
	return serverOption(func(s *settings) { s.ready = ready })
}
