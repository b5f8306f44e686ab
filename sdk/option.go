package sdk

import (
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// A ServerOption changes what [Serve] does.
type ServerOption interface{ apply(*settings) }

type serverOption func(*settings)

func (o serverOption) apply(s *settings) { o(s) }

type settings struct {
	log     *slog.Logger
	drain   time.Duration
	grpc    []grpc.ServerOption
	extproc []extproc.Option
	authz   []extauthz.Option
	ready   func(addr string)
}

// WithLogger sends everything that is logged to log; the default is [slog.Default].
func WithLogger(log *slog.Logger) ServerOption {
	return serverOption(func(s *settings) { s.log = log })
}

// DefaultDrain is the time for draining without [WithDrain].
const DefaultDrain = 10 * time.Second

// WithDrain bounds how long open exchanges may take to end once the server is told to stop; then they
// are cut off. The default is [DefaultDrain].
func WithDrain(d time.Duration) ServerOption { return serverOption(func(s *settings) { s.drain = d }) }

// WithGRPC passes options to the gRPC server, after the SDK's own: transport credentials, for one.
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

// OnReady has ready called once, with the address that is listened on, when requests can come. With
// port 0 that is how to learn the port.
func OnReady(ready func(addr string)) ServerOption {
	return serverOption(func(s *settings) { s.ready = ready })
}
