// Package authserver serves SecurityPolicies to an Envoy that Gatehouse doesn't configure.
package authserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/translator"
)

// Config says what is served where.
type Config struct {
	Paths                        []string
	Listen                       string // host:port or unix:/path
	SocketMode                   SocketMode
	SocketOwner                  string // USER or USER:GROUP of the Unix socket; "": this process's
	DefaultPolicy                string // namespace/name; "" denies requests that name none
	TLSCert, TLSKey, TLSClientCA string // PEM files; without TLSCert the port speaks plain HTTP/2
	AllowPrivateJWKS             bool
	MetricsAddress               string // host:port of /metrics; "": none
	StateDir                     string // holds the seal key that EnvoyConfig makes
	Logger                       *slog.Logger
	Tracer                       trace.Tracer // nil: no spans
}

// Check reports flags that don't go together.
func (c *Config) Check() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		return errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	}
	if err := checkListen(c.Listen); err != nil {
		return err
	}
	if c.MetricsAddress != "" && !isHostPort(c.MetricsAddress) {
		return fmt.Errorf("--metrics-address %q is not host:port", c.MetricsAddress)
	}
	if c.DefaultPolicy != "" && strings.Count(c.DefaultPolicy, "/") != 1 {
		return errors.New("--default-policy is NAMESPACE/NAME")
	}
	return nil
}

// Run serves until ctx ends.
func Run(ctx context.Context, config Config) error {
	source, err := files.New(config.Paths)
	if err != nil {
		return fmt.Errorf("%w: %w", standalone.ErrInput, err)
	}
	fetcher := jwt.NewFetcher(jwt.FetcherOptions{AllowPrivateAddresses: config.AllowPrivateJWKS, Logger: config.Logger})
	defer fetcher.Close()
	bundles := bundle.NewFetcher(bundle.Options{AllowFiles: true, Logger: config.Logger})
	defer bundles.Close()
	databases := geo.New(geo.Options{Logger: config.Logger})
	defer databases.Close()
	decisions := decisionlog.New(decisionlog.Options{Logger: config.Logger})
	defer decisions.Close()
	seals, err := sealBuilder(config.StateDir)
	if err != nil {
		return fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	providers := discovery.NewFetcher(discovery.Options{Logger: config.Logger}) // oidc is Envoy's part: it has none
	defer providers.Close()
	policies := &policies{
		// The seals of the translation are in routes that nobody gets to see.
		translator: translator.New(translator.Options{ControllerNames: standalone.ControllerNames(), SealKey: []byte("unused")}),
		fetcher:    fetcher, bundles: bundles, geo: databases, decisions: decisions, config: config, seals: seals,
	}
	set, problems, err := source.Load()
	if err != nil {
		return fmt.Errorf("%w: %w", standalone.ErrInput, err)
	}
	policies.load(set, problems)

	credentials, err := serverCredentials(config)
	if err != nil {
		return fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	listener, err := listen(ctx, &config)
	if err != nil {
		return fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	registry := prometheus.NewRegistry()
	state := newHealth(policies.problems)
	services := agent.Authorizer{
		Choose: policies.choose, NameOf: policies.nameOf, Health: state,
		Logger: config.Logger, Registerer: registry, Tracer: config.Tracer,
	}
	server := services.Server(credentials...)
	state.Serve() // the policies are loaded
	config.Logger.Info("serving", "address", listener.Addr().String(), "policies", policies.len())
	group, ctx := errgroup.WithContext(ctx)
	if config.MetricsAddress != "" {
		registry.MustRegister(agent.NewCollector(fetcher, bundles, providers, databases, decisions))
		metrics, err := net.Listen("tcp", config.MetricsAddress)
		if err != nil {
			return fmt.Errorf("%w: %w", standalone.ErrEnvironment, errors.Join(err, listener.Close()))
		}
		group.Go(func() error { return serveMetrics(ctx, metrics, registry) })
	}
	group.Go(func() error { return server.Serve(listener) })
	group.Go(func() error { return source.Watch(ctx, policies.load) })
	group.Go(func() error {
		<-ctx.Done()
		state.Drain()
		agent.StopServer(server)
		return nil
	})
	return group.Wait()
}
