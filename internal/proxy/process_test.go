package proxy_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
)

func TestEnvoyServesAndStopsWithoutATrace(t *testing.T) {
	t.Parallel()
	g := start(t, helloBackend(t), nil)
	if got := get(t, g.url); got != "200 hello" {
		t.Fatalf("answer %q", got)
	}
	pid := g.Pid()
	if took := g.end(t); took > 3*time.Second {
		t.Errorf("stopping an idle Envoy took %s", took)
	}
	if alive(pid) {
		t.Errorf("process %d is left", pid)
	}
	if g.Pid() != 0 {
		t.Errorf("Pid() = %d after the end", g.Pid())
	}
	if !strings.Contains(g.stdout.String(), `"GET / HTTP/1.1" 200`) {
		t.Errorf("access log: %q", g.stdout.String())
	}
}

func TestEnvoyIsRestartedAfterItWasKilled(t *testing.T) {
	t.Parallel()
	g := start(t, helloBackend(t), nil)
	for range 2 {
		pid := g.Pid()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a new process", func() bool { return g.Pid() != 0 && g.Pid() != pid })
		g.ready(t)
		if got := get(t, g.url); got != "200 hello" {
			t.Fatalf("answer %q", got)
		}
	}
	if !strings.Contains(g.log.String(), "signal: killed") {
		t.Errorf("the log doesn't say how it ended: %s", g.log)
	}
}

func TestASlowResponseIsFinishedBeforeTheStop(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "late")
	}))
	t.Cleanup(srv.Close)
	g := start(t, srv.Listener.Addr().String(), func(c *proxy.Config) { c.DrainTimeout = 20 * time.Second })

	answer := make(chan string, 1)
	go func() { answer <- get(t, g.url) }()
	<-arrived
	g.stop()
	eventually(t, "the health check fails", func() bool {
		body, err := g.Get(t.Context(), "/server_info")
		return err == nil && strings.Contains(string(body), `"state": "DRAINING"`)
	})
	close(release)
	if got := <-answer; got != "200 late" {
		t.Errorf("answer %q", got)
	}
	if err := <-g.done; err != nil {
		t.Error(err)
	}
}

func TestAnEndlessResponseCannotHoldTheStop(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	g := start(t, srv.Listener.Addr().String(), func(c *proxy.Config) { c.DrainTimeout = time.Second })
	go func() {
		resp, err := http.Get(g.url)
		if err == nil {
			resp.Body.Close()
		}
	}()
	<-arrived
	if took := g.end(t); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if !strings.Contains(g.log.String(), "drain time is over") {
		t.Errorf("log: %s", g.log)
	}
}

func TestAnIdleConnectionDoesNotHoldTheStop(t *testing.T) {
	t.Parallel()
	g := start(t, helloBackend(t), func(c *proxy.Config) { c.DrainTimeout = 20 * time.Second })
	client := &http.Client{Transport: &http.Transport{}}
	resp, err := client.Get(g.url)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if took := g.end(t); took > 8*time.Second {
		t.Errorf("took %s", took)
	}
}

func TestEnvoyDiesWithAKilledParent(t *testing.T) {
	t.Parallel()
	dir := envoytest.SocketDir(t)
	text := bootstrap(filepath.Join(dir, "a.sock"), envoytest.FreePort(t), helloBackend(t))
	if err := os.WriteFile(filepath.Join(dir, "in.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), parentEnv+"="+dir, "ENVOY="+binary(t))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || !alive(pid) {
		t.Fatalf("no Envoy: %q", line)
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "Envoy is gone", func() bool { return !alive(pid) })
}

// runAsParent runs Envoy and prints its process id once it is ready. It never returns by itself.
func runAsParent(dir string) {
	binary, err := proxy.Find(context.Background(), "")
	if err != nil {
		panic(err)
	}
	p := proxy.New(proxy.Config{
		Binary: binary, BootstrapPath: filepath.Join(dir, "in.yaml"), Dir: dir, Concurrency: 1,
		AdminSocket: filepath.Join(dir, "a.sock"), Logger: slog.New(slog.DiscardHandler),
	})
	go func() {
		if err := p.WaitReady(context.Background()); err != nil {
			panic(err)
		}
		os.Stdout.WriteString(strconv.Itoa(p.Pid()) + "\n")
	}()
	if err := p.Run(context.Background()); err != nil {
		panic(err)
	}
}

func TestAFailingFirstStartIsAnError(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config proxy.Config
		says   string
	}{
		"no such binary":        {proxy.Config{Binary: "/nonexistent/envoy", Bootstrap: []byte("{}")}, "/nonexistent/envoy"},
		"no bootstrap":          {proxy.Config{Binary: "envoy"}, "exactly one of Bootstrap"},
		"too long a socket":     {proxy.Config{Binary: "envoy", Bootstrap: []byte("{}"), AdminSocket: "/" + strings.Repeat("x", 120)}, "shorter state directory"},
		"missing working place": {proxy.Config{Binary: "envoy", Bootstrap: []byte("{}"), Dir: "/nonexistent"}, "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.config.Dir == "" {
				test.config.Dir = t.TempDir()
			}
			err := proxy.New(test.config).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestABootstrapThatEnvoyRejectsIsLoggedInItsWords(t *testing.T) {
	t.Parallel()
	log := new(syncBuffer)
	ctx, cancel := context.WithCancel(t.Context())
	p := proxy.New(proxy.Config{
		Binary: binary(t), Bootstrap: []byte(`{"static_resources": {"lizards": []}}`), Dir: t.TempDir(),
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	eventually(t, "two starts", func() bool { return strings.Count(log.String(), "lizards") >= 2 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestTheBootstrapFileIsPrivate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, helloBackend(t), func(c *proxy.Config) { c.Dir = dir })
	info, err := os.Stat(filepath.Join(dir, "envoy.yaml"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
