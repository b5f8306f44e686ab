package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
)

// parentEnv makes the test binary run an Envoy and wait to be killed.
const parentEnv = "GATEHOUSE_TEST_PROXY_PARENT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(parentEnv); dir != "" {
		runAsParent(dir)
		return
	}
	os.Exit(m.Run())
}

func binary(t *testing.T) string {
	t.Helper()
	path, err := proxy.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// gateway is a running Envoy with one listener in front of backend.
type gateway struct {
	*proxy.Process
	url    string
	log    *syncBuffer
	stdout *syncBuffer
	stop   context.CancelFunc
	done   chan error
}

func start(t *testing.T, backend string, change func(*proxy.Config)) *gateway {
	t.Helper()
	dir := t.TempDir()
	port := envoytest.FreePort(t)
	g := &gateway{
		url: "http://127.0.0.1:" + strconv.Itoa(port), log: new(syncBuffer), stdout: new(syncBuffer),
		done: make(chan error, 1),
	}
	config := proxy.Config{
		Binary: binary(t), Bootstrap: []byte(bootstrap(socketPath(t), port, backend)), Dir: dir, Concurrency: 1,
		Logger: slog.New(slog.NewTextHandler(g.log, nil)), Stdout: g.stdout,
	}
	config.AdminSocket = adminSocketOf(config.Bootstrap)
	if change != nil {
		change(&config)
	}
	g.Process = proxy.New(config)
	ctx, cancel := context.WithCancel(t.Context())
	g.stop = cancel
	go func() { g.done <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Log(g.log.String())
		}
	})
	g.ready(t)
	return g
}

func (g *gateway) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := g.WaitReady(ctx); err != nil {
		t.Fatal(err, g.log.String())
	}
}

// end stops the gateway and returns how long that took.
func (g *gateway) end(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	g.stop()
	if err := <-g.done; err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

// bootstrap is on lines of their own where the tests look for values.
func bootstrap(socket string, port int, backend string) string {
	host, backendPort, _ := net.SplitHostPort(backend)
	return fmt.Sprintf(`
admin: {address: {pipe: {mode: 384, path: %s}}}
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          access_log:
          - name: stdout
            typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: backend}}]}
          http_filters:
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: backend
    load_assignment:
      cluster_name: backend
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]
`, socket, port, host, backendPort)
}

func adminSocketOf(bootstrap []byte) string {
	_, rest, _ := bytes.Cut(bootstrap, []byte("path: "))
	path, _, _ := bytes.Cut(rest, []byte("}"))
	return string(path)
}

func socketPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(envoytest.SocketDir(t), "admin.sock")
}

func helloBackend(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(resp.StatusCode) + " " + string(body)
}

// eventually polls until ok, which must hold within 20 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("never happened: " + what)
		}
	}
}

// alive reports whether a process runs; a zombie doesn't.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
