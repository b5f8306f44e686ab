package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/internal/xds"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// plane is an agent and an Envoy on its sockets.
type plane struct {
	t          *testing.T
	dir        string
	agent      *agent.Agent
	stop       func()
	envoy      *envoytest.Envoy
	translator *translator.Translator
	rejections chan xds.Rejection
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	dir := envoytest.SocketDir(t)
	p := &plane{
		t: t, dir: dir, rejections: make(chan xds.Rejection, 16),
		translator: translator.New(translator.Options{SealKey: []byte("key")}),
	}
	p.startAgent()
	bootstrap, err := envoy.YAML(envoy.NewBootstrap(envoy.BootstrapOptions{
		NodeID: "test", XDSSocket: filepath.Join(dir, "xds.sock"), AuthorizerSocket: filepath.Join(dir, "authz.sock"),
	}))
	if err != nil {
		t.Fatal(err)
	}
	p.agent.Apply(p.translate()) // Envoy is live once it has heard of listeners, be it none
	p.envoy = envoytest.Start(t, string(bootstrap))
	return p
}

func (p *plane) startAgent() {
	p.t.Helper()
	p.agent = agent.New(agent.Config{
		XDSSocket: filepath.Join(p.dir, "xds.sock"), AuthorizerSocket: filepath.Join(p.dir, "authz.sock"),
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		OnReject: func(r xds.Rejection) { p.rejections <- r },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	running := p.agent
	go func() { done <- running.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("agent: %v", err)
		}
	})
	p.t.Cleanup(p.stop)
}

// apply puts manifests in force and waits until Envoy has them.
func (p *plane) apply(manifests ...string) *snapshot.Snapshot {
	p.t.Helper()
	snap := p.translate(manifests...)
	p.agent.Apply(snap)
	p.wait()
	return snap
}

func (p *plane) wait() {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	if err := p.agent.WaitSynced(ctx); err != nil {
		p.t.Fatalf("Envoy hasn't taken the snapshot: %v", err)
	}
}

func (p *plane) translate(manifests ...string) *snapshot.Snapshot {
	p.t.Helper()
	path := filepath.Join(p.t.TempDir(), "in.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(manifests, "\n---\n")), 0o600); err != nil {
		p.t.Fatal(err)
	}
	source, err := files.New([]string{path})
	if err != nil {
		p.t.Fatal(err)
	}
	set, problems, err := source.Load()
	if err != nil || len(problems) > 0 {
		p.t.Fatalf("load: %v %v", err, problems)
	}
	return p.translator.Translate(set, nil).Snapshot
}

func gateway(port int) string {
	return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: c, addresses: [{value: 127.0.0.1}], listeners: [{name: a, port: %d, protocol: HTTP}]}", port)
}

func route(name, path, service string) string {
	return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: %s}\nspec: {parentRefs: [{name: g}], rules: [{matches: [{path: {value: %s}}], backendRefs: [{name: %s, port: 80}]}]}", name, path, service)
}

// service is a Service whose endpoint comes by an EndpointSlice, so by EDS.
func service(name string, port int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %[1]s}\nspec: {ports: [{port: 80, name: a}]}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: %[1]s-1, labels: {kubernetes.io/service-name: %[1]s}}\naddressType: IPv4\nports: [{name: a, port: %[2]d}]\nendpoints: [{addresses: [127.0.0.1]}]", name, port)
}

func policy(name, target, rego string) string {
	return fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: %s}\nspec:\n  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: %s}]\n  opa: {modules: [{type: Inline, inline: %q}]}", name, target, rego)
}

func backend(t *testing.T) int {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).Port
}

func get(url string) (int, error) {
	response, err := http.Get(url)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// load sends requests from several connections until stop is called, and counts answers by status.
func load(url string) (stop func() map[int]int) {
	var counts sync.Map
	var ended atomic.Bool
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for !ended.Load() {
				status := -1
				if response, err := client.Get(url); err == nil {
					status = response.StatusCode
					_ = response.Body.Close()
				}
				n, _ := counts.LoadOrStore(status, new(atomic.Int64))
				n.(*atomic.Int64).Add(1)
			}
		})
	}
	return func() map[int]int {
		ended.Store(true)
		group.Wait()
		out := map[int]int{}
		counts.Range(func(status, n any) bool {
			out[status.(int)] = int(n.(*atomic.Int64).Load())
			return true
		})
		return out
	}
}

// TestSwitchingClustersUnderLoad: a route that moves to a cluster nobody has heard of, again and again,
// fails no request.
func TestSwitchingClustersUnderLoad(t *testing.T) {
	t.Parallel()
	p, port, b := newPlane(t), envoytest.FreePort(t), backend(t)
	p.apply(gateway(port), service("s0", b), route("r", "/", "s0"))
	stop := load(fmt.Sprintf("http://127.0.0.1:%d/", port))
	for i := 1; i <= 40; i++ {
		name := fmt.Sprintf("s%d", i)
		p.apply(gateway(port), service(name, b), strings.Replace(route("r", "/", name), "name: r}", fmt.Sprintf("name: r%d}", i), 1))
	}
	counts := stop()
	if counts[200] < 100 || len(counts) != 1 {
		t.Errorf("answers by status: %v, want 200 only", counts)
	}
	if n := p.envoy.Stat(t, "listener_manager.listener_modified"); n != 0 {
		t.Errorf("listener_modified is %d", n)
	}
}

// TestPoliciesComeBeforeRoutes: a policy edited under load never answers 503, as one that Envoy asks for
// before it is loaded, or after it is gone, would.
func TestPoliciesComeBeforeRoutes(t *testing.T) {
	t.Parallel()
	p, port, b := newPlane(t), envoytest.FreePort(t), backend(t)
	apply := func(i int) {
		p.apply(gateway(port), service("s", b), route("r", "/", "s"),
			policy("p", "r", fmt.Sprintf("package envoy.authz\nimport rego.v1\nallow := true if %d > 0", i)))
	}
	apply(1)
	stop := load(fmt.Sprintf("http://127.0.0.1:%d/", port))
	for i := 2; i <= 60; i++ {
		apply(i)
	}
	if counts := stop(); counts[200] < 100 || len(counts) != 1 {
		t.Errorf("answers by status: %v, want 200 only", counts)
	}
}

// TestNewAgentOldEnvoy: an agent that comes back finds Envoy in the state it left, and tells it only
// what has changed since.
func TestNewAgentOldEnvoy(t *testing.T) {
	t.Parallel()
	p, port, b := newPlane(t), envoytest.FreePort(t), backend(t)
	manifests := []string{gateway(port), service("s", b), route("r", "/", "s"), policy("p", "r", "package envoy.authz\nallow := true")}
	p.apply(manifests...)
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	if status, err := get(url); status != 200 {
		t.Fatalf("%d %v", status, err)
	}
	before := p.envoy.Stat(t, "cluster_manager.cds.update_success")

	p.stop()
	if status, err := get(url); status != http.StatusServiceUnavailable {
		t.Errorf("without its authorizer: %d %v, want 503", status, err)
	}
	p.startAgent()
	p.apply(manifests...)
	if status, err := get(url); status != 200 {
		t.Errorf("with a new agent: %d %v, want 200", status, err)
	}
	if after := p.envoy.Stat(t, "cluster_manager.cds.update_success"); after != before {
		t.Errorf("the new agent sent %d cluster updates for nothing", after-before)
	}
	if n := p.envoy.Stat(t, "listener_manager.listener_modified"); n != 0 {
		t.Errorf("listener_modified is %d", n)
	}
	p.apply(append(manifests, route("other", "/other", "missing"))...)
	if status, err := get(url + "other"); status != 500 {
		t.Errorf("a route added by the new agent: %d %v, want 500", status, err)
	}
}

// TestRefusalNamesItsResource: Envoy refuses one listener; the rest is applied, and the refused version
// isn't sent again.
func TestRefusalNamesItsResource(t *testing.T) {
	t.Parallel()
	p, port, b := newPlane(t), envoytest.FreePort(t), backend(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	other := strings.Replace(gateway(taken.Addr().(*net.TCPAddr).Port), "name: g}", "name: taken}", 1)
	snap := p.apply(gateway(port), other, service("s", b), route("r", "/", "s"))
	rejection := <-p.rejections
	if rejection.Type != snapshot.Listener || !strings.Contains(rejection.Name, taken.Addr().String()) || rejection.Message == "" {
		t.Errorf("refused: %+v, want the listener on the port in use, in Envoy's words", rejection)
	}
	if status, err := get(fmt.Sprintf("http://127.0.0.1:%d/", port)); status != 200 {
		t.Errorf("the other listener: %d %v", status, err)
	}
	if got := p.agent.Rejections(); len(got) != 1 {
		t.Errorf("rejections: %v", got)
	}
	refused := p.envoy.Stat(t, "listener_manager.lds.update_rejected")
	p.agent.Apply(&snapshot.Snapshot{Resources: snap.Resources, Policies: snap.Policies})
	p.wait()
	if again := p.envoy.Stat(t, "listener_manager.lds.update_rejected"); again != refused {
		t.Errorf("the refused version was sent again")
	}
}
