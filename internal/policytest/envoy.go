package policytest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// Envoy is the Runner through a real one, with its authorizer. Close it.
type Envoy struct {
	gateway *explain.Gateway
	ports   map[netip.AddrPort]int
	echo    *echo
	dir     string
	cancel  context.CancelFunc
	group   *errgroup.Group
}

// startWithin is how long Envoy gets to take the configuration.
const startWithin = 60 * time.Second

// StartEnvoy runs Envoy on the configuration of snap, with its listeners on free loopback ports and its
// backends replaced by a server that only takes notes. gateway must be of the same snapshot: it finds
// the listener of a request.
func StartEnvoy(ctx context.Context, binary string, gateway *explain.Gateway, snap *snapshot.Snapshot, sources explain.Sources) (*Envoy, error) {
	dir, err := os.MkdirTemp("", "ghtest") // short: sockets are in it
	if err != nil {
		return nil, err
	}
	e := &Envoy{gateway: gateway, dir: dir}
	if err := e.start(ctx, binary, snap, sources); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

func (e *Envoy) start(ctx context.Context, binary string, snap *snapshot.Snapshot, sources explain.Sources) (err error) {
	if e.echo, err = newEcho(); err != nil {
		return err
	}
	moved, err := rewire(snap, e.echo.port, freePort)
	if err != nil {
		return err
	}
	e.ports = moved.ports
	log := slog.New(slog.DiscardHandler)
	sockets := envoy.BootstrapOptions{
		NodeID: "gatehouse-test", XDSSocket: filepath.Join(e.dir, "xds.sock"),
		AuthorizerSocket: filepath.Join(e.dir, "authorizer.sock"), AdminSocket: filepath.Join(e.dir, "admin.sock"),
	}
	bootstrap, err := envoy.YAML(envoy.NewBootstrap(sockets))
	if err != nil {
		return err
	}
	a := agent.New(agent.Config{XDSSocket: sockets.XDSSocket, AuthorizerSocket: sockets.AuthorizerSocket, JWKS: sources.JWKS, Bundles: sources.Bundles, Geo: sources.Geo, Logger: log})
	process := proxy.New(proxy.Config{
		Binary: binary, Bootstrap: bootstrap, Dir: e.dir, AdminSocket: sockets.AdminSocket, Concurrency: 1, Logger: log, DrainTimeout: -1,
	})
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	e.cancel = cancel
	e.group, running = errgroup.WithContext(running)
	e.group.Go(func() error { return a.Run(running) })
	e.group.Go(func() error { return process.Run(running) })
	a.Apply(moved.snapshot)
	starting, stop := context.WithTimeout(ctx, startWithin)
	defer stop()
	if err := a.WaitSynced(starting); err != nil {
		return fmt.Errorf("envoy didn't take the configuration: %w", err)
	}
	if rejected := a.Rejections(); len(rejected) > 0 {
		return fmt.Errorf("envoy refuses the configuration: %v", rejected[0])
	}
	for _, port := range e.ports {
		if err := awaitPort(starting, port); err != nil {
			return err
		}
	}
	return nil
}

// freePort asks the kernel for one.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port, _ := l.Addr().(*net.TCPAddr)
	return port.Port, l.Close()
}

func awaitPort(ctx context.Context, port int) error {
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("envoy doesn't listen: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Close stops Envoy and what belongs to it.
func (e *Envoy) Close() error {
	if e.cancel != nil {
		e.cancel()
		_ = e.group.Wait()
	}
	if e.echo != nil {
		e.echo.close()
	}
	return os.RemoveAll(e.dir)
}

// Run implements [Runner].
func (e *Envoy) Run(ctx context.Context, r *explain.Request) (*Result, error) {
	request, at, err := e.gateway.Resolve(r)
	if errors.Is(err, routing.ErrNoListener) {
		return &Result{Verdict: Answer}, nil
	}
	if err != nil {
		return nil, err
	}
	e.echo.forget()
	got, err := send(ctx, request, e.ports[at], r.Body, r.HTTP2)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, publicURL(r.URL), err)
	}
	seen := e.echo.last()
	return &Result{
		Verdict: verdictOf(seen != nil, got.status, got.grpcStatus), Status: got.status, GRPCStatus: got.grpcStatus, Upstream: seen, Response: got.header,
	}, nil
}
