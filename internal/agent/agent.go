// Package agent runs a data plane: it takes snapshots, loads their policies into the authorizer, and
// only then shows Envoy the configuration that refers to them. Both live in this one process, so no
// protocol is needed to keep Envoy from naming a policy that its authorizer hasn't got.
package agent

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/internal/health"
	"github.com/gatehouse-proxy/gatehouse/internal/unixsocket"
	"github.com/gatehouse-proxy/gatehouse/internal/xds"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// Config says where an agent listens. Both sockets are Unix sockets of mode 0600.
type Config struct {
	XDSSocket        string
	AuthorizerSocket string
	JWKS             *jwt.Fetcher
	Bundles          *bundle.Fetcher  // nil: policies with bundles can't be enforced
	Geo              *geo.Databases   // nil: policies with rules about locations can't be enforced
	Decisions        *decisionlog.Log // nil: none is written
	Logger           *slog.Logger
	Registerer       prometheus.Registerer // nil: no metrics
	Tracer           trace.Tracer          // nil: no spans
	// OnReject is told of resources that Envoy refused; may be nil.
	OnReject func(xds.Rejection)
	// Validate has Envoy try a bootstrap, as [proxy.Validate] does. nil: a listener of which Envoy refuses
	// a route keeps its last good routes.
	Validate func(ctx context.Context, bootstrap []byte) error
	// OnRefusals is told of the routes that answer 503 because Envoy refuses them, at every change; may be
	// nil.
	OnRefusals func([]Refusal)
	// QuarantinePath is a file that keeps refused routes across restarts; "" keeps them in memory.
	QuarantinePath string
	// Probe reports why an address can't be bound, as [Probe] does; a listener on it is withheld and tried
	// again every second. nil where Envoy isn't this process's child: then the address may be Envoy's own.
	Probe func(address string) error
	// AcceptedPath is a file that keeps the last snapshot that Envoy accepted, keys and password hashes
	// included; "" keeps none. See [Accepted].
	AcceptedPath string
}

// Agent is one data plane's. Methods are safe for concurrent use, but Apply, which is called from one
// goroutine.
type Agent struct {
	config   Config
	log      *slog.Logger
	policies *policies
	health   *health.Server
	heap     *heapFloor
	xds      *xds.Server
	current  atomic.Pointer[snapshot.Snapshot] // as published

	kept       *snapshot.Snapshot // belongs to sweep
	quarantine *quarantine
	refused    chan xds.Rejection
	searches   atomic.Int32 // refusals of which the route isn't found yet
	publishing sync.Mutex
	wanted     *snapshot.Snapshot // guarded by publishing
	refusals   []Refusal          // guarded by publishing
	binder     *binder            // guarded by publishing
}

// New returns an agent that serves nothing until [Agent.Run].
func New(config Config) *Agent {
	a := &Agent{
		config:     config,
		log:        config.Logger,
		policies:   newPolicies(policy.Deps{JWKS: config.JWKS, Bundles: config.Bundles, Geo: config.Geo, Decisions: config.Decisions, Logger: config.Logger}, config.Logger),
		health:     health.New(HealthServices()...),
		heap:       newHeapFloor(),
		quarantine: newQuarantine(config.QuarantinePath, config.Validate, config.Logger),
		refused:    make(chan xds.Rejection, 64),
		binder:     newBinder(config.Probe),
	}
	a.xds = xds.NewServer(config.Logger, a.onReject)
	return a
}

// onReject runs in the goroutine of Envoy's stream and must not wait.
func (a *Agent) onReject(r xds.Rejection) {
	if a.config.OnReject != nil {
		a.config.OnReject(r)
	}
	if r.Type == snapshot.Route && a.config.Validate != nil {
		a.searches.Add(1)
		select {
		case a.refused <- r:
		default:
			a.searches.Add(-1)
		}
	}
}

// Apply puts snap in force: its policies at once, its configuration as Envoy takes it. The errors, by
// policy reference, say which policies can't be enforced; their routes answer 503.
func (a *Agent) Apply(snap *snapshot.Snapshot) map[string]error {
	faults := a.policies.load(snap, time.Now())
	a.health.Serve() // before the first one there is nothing to judge by
	a.heap.loaded()
	a.publishing.Lock()
	defer a.publishing.Unlock()
	a.wanted = snap
	a.publish()
	return faults
}

// republish sends the wanted snapshot again after the quarantine has changed.
func (a *Agent) republish() {
	a.publishing.Lock()
	defer a.publishing.Unlock()
	a.publish()
}

// publish shows Envoy the wanted snapshot without what it is known to refuse. The caller holds
// publishing.
func (a *Agent) publish() {
	snap, refusals := a.quarantine.rewrite(a.wanted)
	before := maps.Clone(a.binder.withheld)
	snap = a.binder.allow(snap)
	a.tellWithheld(before)
	a.current.Store(snap)
	a.xds.Publish(snap)
	if a.config.OnRefusals != nil && !slices.Equal(refusals, a.refusals) {
		a.config.OnRefusals(refusals)
	}
	a.refusals = refusals
}

// Shown is the last snapshot as Envoy is shown it: refused routes answer 503, and listeners whose address is taken
// are left out. nil before the first; immutable.
func (a *Agent) Shown() *snapshot.Snapshot { return a.current.Load() }

// Synced reports whether every connected Envoy has answered for the whole of the last snapshot, and no refused
// route is looked for: as long as one is, the others of its listener aren't in force.
func (a *Agent) Synced() bool {
	snap := a.current.Load()
	return snap != nil && a.searches.Load() == 0 && a.xds.Synced(snap)
}

// searchEvery is how often the end of a search is looked for.
const searchEvery = 10 * time.Millisecond

// WaitSynced returns when Synced holds, or the context's error.
func (a *Agent) WaitSynced(ctx context.Context) error {
	for {
		changed := a.xds.Changed()
		if a.Synced() {
			return nil
		}
		var searched <-chan time.Time
		if a.searches.Load() > 0 {
			searched = time.After(searchEvery)
		}
		select {
		case <-searched:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Rejections lists what Envoy refused of the last snapshot.
func (a *Agent) Rejections() []xds.Rejection { return a.xds.Rejections() }

// Run serves until ctx ends and removes the sockets.
func (a *Agent) Run(ctx context.Context) error {
	authorizer, err := listen(a.config.AuthorizerSocket)
	if err != nil {
		return err
	}
	control, err := listen(a.config.XDSSocket)
	if err != nil {
		return errors.Join(err, authorizer.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, authorizer, a.authorizer(), a.health.Drain) })
	group.Go(func() error { return serve(ctx, control, a.control(), func() {}) })
	group.Go(func() error { a.sweep(ctx); return nil })
	group.Go(func() error { a.watchRefusals(ctx); return nil })
	return group.Wait()
}

func (a *Agent) authorizer() *grpc.Server {
	services := Authorizer{
		Choose: a.policies.choose, NameOf: a.policies.nameOf, Health: a.health,
		Logger: a.log, Registerer: a.config.Registerer, Tracer: a.config.Tracer,
	}
	return services.Server()
}

func (a *Agent) control() *grpc.Server {
	server := grpc.NewServer()
	a.xds.Register(server)
	return server
}

// sweep drops policies a while after Envoy has let go of them, and keeps what it has accepted.
func (a *Agent) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if a.xds.Connected() > 0 && !a.Synced() {
				a.policies.extend(now)
			}
			a.policies.sweep(now)
			a.heap.tick()
			a.retryWithheld()
			a.keep()
		}
	}
}

// listen takes a predecessor's socket over, without a moment in which there is none.
func listen(path string) (net.Listener, error) {
	l, err := unixsocket.Listen(path, unixsocket.Private())
	if err != nil {
		return nil, err
	}
	if err := l.Publish(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// serve runs server until ctx ends, calls drain, lets calls under way finish for a second, and stops.
func serve(ctx context.Context, l net.Listener, server *grpc.Server, drain func()) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		drain()
		StopServer(server)
	}()
	err := server.Serve(l)
	if ctx.Err() == nil {
		return err
	}
	<-stopped
	return nil
}
