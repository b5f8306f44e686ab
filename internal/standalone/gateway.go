package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/gatehouse-proxy/gatehouse/internal/admin"
	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/console"
	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/internal/state"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// gateway is a running one.
type gateway struct {
	config   Config
	log      *slog.Logger
	dir      *state.Dir
	source   *files.Source
	report   *report
	statuses *statuses
	pipeline *pipeline
	agent    *agent.Agent
	envoy    *proxy.Process // nil with NoEnvoy
	metrics  *prometheus.Registry
	jwks     *jwt.Fetcher
	bundles  *bundle.Fetcher
	geo      *geo.Databases
	// providers fetches what OpenID providers say about themselves.
	providers *discovery.Fetcher
	// decisions are Rego's; the sink File is below the state directory.
	decisions *decisionlog.Log

	// waiting is set while the last accepted configuration serves instead of the source. It is used by one
	// goroutine at a time.
	waiting bool

	readiness sync.Mutex
	unready   error
}

// errStopped indicates that the gateway was told to stop before it had started anything.
var errStopped = errors.New("stopped")

// Run runs a gateway until ctx ends, then drains and stops it. The error wraps ErrInput or
// ErrEnvironment where that is the reason.
func Run(ctx context.Context, config Config) error {
	g := &gateway{config: config, log: config.Logger, unready: errors.New("starting")}
	if err := g.prepare(ctx); errors.Is(err, errStopped) {
		return nil
	} else if err != nil {
		return err
	}
	defer func() { _ = g.dir.Close() }()
	defer g.jwks.Close()
	defer g.bundles.Close()
	defer g.geo.Close()
	defer g.providers.Close()
	defer g.decisions.Close()
	return g.run(ctx)
}

// prepare does what can fail before anything is started.
func (g *gateway) prepare(ctx context.Context) error {
	binary, err := g.findEnvoy(ctx)
	if ctx.Err() != nil {
		return errStopped
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	if g.source, err = files.New(g.config.Paths); err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	if g.dir, err = state.LockDir(g.config.StateDir); err != nil {
		return fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	seal, err := SealKey(g.dir.Path(SealKeyFile))
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrEnvironment, err), g.dir.Close())
	}
	g.metrics = prometheus.NewRegistry()
	g.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	g.jwks = jwt.NewFetcher(jwt.FetcherOptions{AllowPrivateAddresses: g.config.AllowPrivateJWKS, Logger: g.log})
	g.geo = geo.New(geo.Options{Logger: g.log})
	g.bundles = bundle.NewFetcher(bundle.Options{AllowFiles: true, Keep: g.dir.Path("bundles"), Logger: g.log})
	g.providers = discovery.NewFetcher(discovery.Options{Keep: g.dir.Path(ProvidersDir), OnChange: func() { g.pipeline.described() }, Logger: g.log})
	g.decisions = decisionlog.New(decisionlog.Options{Stdout: g.config.Stdout, Dir: g.dir.Path("decisions"), Logger: g.log})
	g.metrics.MustRegister(agent.NewCollector(g.jwks, g.bundles, g.providers, g.geo, g.decisions))
	g.statuses = newStatuses()
	g.agent = agent.New(agent.Config{
		XDSSocket: g.dir.Path("xds.sock"), AuthorizerSocket: g.dir.Path("authorizer.sock"),
		JWKS: g.jwks, Bundles: g.bundles, Geo: g.geo, Decisions: g.decisions, Logger: g.log, Registerer: g.metrics, Tracer: g.config.Tracer,
		Validate: validator(binary), QuarantinePath: g.dir.Path("refused-routes.json"),
		AcceptedPath: g.dir.Path(acceptedFile), OnRefusals: g.statuses.refused,
		Probe: prober(binary),
	})
	g.statuses.live = live{rejections: g.agent.Rejections, withheld: g.agent.Withheld, keySets: g.jwks.States, bundles: g.bundles.States, databases: g.geo.States, providers: g.providers.States, inForce: g.inForce}
	g.report = newReport(g.log)
	g.pipeline = &pipeline{
		translator: translator.New(translator.Options{
			ControllerNames: ControllerNames(), SealKey: seal, SystemRoots: SystemRoots(),
			PrivateDirs: g.dir.Names(),
		}),
		agent: g.agent, providers: g.providers, report: g.report, statuses: g.statuses, log: g.log,
	}
	return g.prepareEnvoy(binary)
}

func (g *gateway) findEnvoy(ctx context.Context) (string, error) {
	if g.config.Envoy == NoEnvoy {
		return "", nil
	}
	binary, err := proxy.Find(ctx, g.config.Envoy)
	if err != nil {
		return "", err
	}
	return binary, proxy.CheckVersion(ctx, binary)
}

// validator asks Envoy about a bootstrap; nil where there is no Envoy to ask.
func validator(binary string) func(context.Context, []byte) error {
	if binary == "" {
		return nil
	}
	return func(ctx context.Context, bootstrap []byte) error { return proxy.Validate(ctx, binary, bootstrap) }
}

// prober looks whether an address is free; nil where an Envoy of somebody else's may hold it.
func prober(binary string) func(address string) error {
	if binary == "" {
		return nil
	}
	return agent.Probe
}

func (g *gateway) prepareEnvoy(binary string) error {
	options := envoy.BootstrapOptions{
		NodeID: "gatehouse", XDSSocket: g.dir.Path("xds.sock"), AuthorizerSocket: g.dir.Path("authorizer.sock"),
		AdminSocket: g.dir.Path(adminSocket),
	}
	bootstrap, err := envoy.YAML(envoy.NewBootstrap(options))
	if err != nil {
		return err
	}
	if binary == "" {
		path := g.dir.Path("envoy.yaml")
		g.log.Info("no Envoy is started; start one with this bootstrap", "command", "envoy -c "+path)
		return os.WriteFile(path, bootstrap, 0o600)
	}
	g.envoy = proxy.New(proxy.Config{
		Binary: binary, Bootstrap: bootstrap, Dir: g.dir.Path(), AdminSocket: options.AdminSocket,
		Concurrency: g.config.Concurrency, LogLevel: g.config.EnvoyLogLevel,
		Logger: g.log, Stdout: g.config.Stdout,
		// By default Envoy keeps access log lines for up to 10 s.
		Args: []string{"--file-flush-interval-msec", "200"},
	})
	return nil
}

const adminSocket = "admin.sock"

func removeSocket(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// run starts the servers, then Envoy, and ends them in reverse: Envoy drains while the authorizer still
// answers.
func (g *gateway) run(ctx context.Context) error {
	if err := g.start(); err != nil {
		return err
	}
	servers, stopServers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServers()
	group, groupCtx := errgroup.WithContext(servers)
	group.Go(func() error { return g.agent.Run(groupCtx) })
	if err := g.serveAdmin(groupCtx, group); err != nil {
		stopServers()
		return errors.Join(fmt.Errorf("%w: %w", ErrEnvironment, err), group.Wait())
	}
	work, stopWork := context.WithCancel(ctx)
	defer stopWork()
	group.Go(func() error {
		defer stopServers()
		defer stopWork()
		return g.work(work)
	})
	context.AfterFunc(groupCtx, stopWork) // a server that fails ends the gateway
	return group.Wait()
}

// work runs Envoy and the watch until ctx ends.
func (g *gateway) work(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if g.envoy != nil {
		group.Go(func() error {
			if err := g.envoy.Run(ctx); err != nil {
				return fmt.Errorf("%w: %w", ErrEnvironment, err)
			}
			return removeSocket(g.dir.Path(adminSocket)) // Envoy leaves it behind
		})
	}
	group.Go(func() error { return g.announce(ctx) })
	if g.config.NoWatch {
		group.Go(func() error { <-ctx.Done(); return nil })
	} else {
		group.Go(func() error { return g.source.Watch(ctx, g.changed) })
	}
	return group.Wait()
}

// announce prints the line "ready" once everything of the first translation that can serve does.
func (g *gateway) announce(ctx context.Context) error {
	if err := g.waitInForce(ctx); err != nil {
		return nil //nolint:nilerr // ctx ended before the gateway was ready
	}
	g.readiness.Lock()
	g.unready = nil
	g.readiness.Unlock()
	_, err := io.WriteString(g.config.Stdout, "ready\n")
	return err
}

func (g *gateway) ready() error {
	g.readiness.Lock()
	defer g.readiness.Unlock()
	return g.unready
}

func (g *gateway) serveAdmin(ctx context.Context, group *errgroup.Group) error {
	explainer := g.explainer()
	console := &console.Console{Objects: g.statuses.objects, Explain: explainer.Explain}
	options := admin.Options{Ready: g.ready, Gatherer: g.metrics, Logger: g.log, Extra: map[string]http.Handler{
		"GET /api/status": g.statuses, "GET /api/sources": g.sources(), "POST /api/explain": explainer,
		"GET /console/{$}": console, "POST /console/{$}": console, "GET /console": http.RedirectHandler("/console/", http.StatusMovedPermanently),
	}}
	if g.envoy != nil {
		options.Envoy = g.envoy.Admin().Transport
	}
	for _, server := range []struct {
		address string
		handler func(admin.Options) http.Handler
	}{{g.config.AdminAddress, admin.New}, {g.config.MetricsAddress, admin.Metrics}} {
		if server.address == "" {
			continue
		}
		l, err := net.Listen("tcp", server.address)
		if err != nil {
			return fmt.Errorf("%w; choose another with --admin-address or --metrics-address", err)
		}
		options.Address = server.address
		serveHTTP(ctx, group, l, server.handler(options))
	}
	return nil
}

func serveHTTP(ctx context.Context, group *errgroup.Group, l net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
}
