// Package gatewaytest runs the gatehouse command with a real Envoy, for tests of what a client sees.
package gatewaytest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

const (
	readyTimeout = 60 * time.Second
	// Patience is how long a change may take to show. Envoy needs milliseconds; the machine may be busy.
	Patience = 20 * time.Second
)

// Gateway is a running `gatehouse run`.
type Gateway struct {
	// Dir holds the manifests; a file written there takes effect.
	Dir string
	// State is its state directory.
	State string
	// Admin and Metrics are base URLs.
	Admin, Metrics string

	cmd    *exec.Cmd
	ready  chan struct{}
	ended  chan struct{}
	output Output
}

// Option changes how a Gateway starts.
type Option func(*exec.Cmd)

// Args appends arguments.
func Args(args ...string) Option { return func(c *exec.Cmd) { c.Args = append(c.Args, args...) } }

// Paths has the gateway read these instead of its Dir.
func Paths(paths ...string) Option {
	return func(c *exec.Cmd) {
		at := slices.Index(c.Args, "-f")
		c.Args = slices.Delete(c.Args, at, at+2)
		for _, path := range paths {
			c.Args = append(c.Args, "-f", path)
		}
	}
}

// Env appends environment variables.
func Env(env ...string) Option { return func(c *exec.Cmd) { c.Env = append(c.Env, env...) } }

// BinaryVariable names the environment variable that holds the path of a built gatehouse. A test that
// runs itself again sets it, so that not every process builds one.
const BinaryVariable = "GATEHOUSE_TEST_BINARY"

// Binary builds gatehouse once for all tests of the process and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv(BinaryVariable); path != "" {
		return path
	}
	built.Do(func() {
		dir, err := os.MkdirTemp("", "gatehouse-test-")
		if err != nil {
			buildErr = err
			return
		}
		binary = filepath.Join(dir, "gatehouse")
		out, err := exec.Command("go", "build", "-o", binary, "github.com/gatehouse-proxy/gatehouse/cmd/gatehouse").CombinedOutput()
		if err != nil {
			buildErr = fmt.Errorf("%w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatalf("build gatehouse: %v", buildErr)
	}
	return binary
}

var (
	built    sync.Once
	binary   string
	buildErr error
)

// Main runs a package's tests and deletes the binary that Binary built.
func Main(m *testing.M) {
	code := m.Run()
	if binary != "" {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// Start writes the manifests into a directory, by file name, and runs a gateway on it until the test
// ends. It returns once the gateway is ready.
func Start(t testing.TB, manifests map[string]string, options ...Option) *Gateway {
	t.Helper()
	g := Launch(t, manifests, options...)
	g.AwaitReady(t)
	return g
}

// Launch is Start without waiting.
func Launch(t testing.TB, manifests map[string]string, options ...Option) *Gateway {
	t.Helper()
	g := &Gateway{Dir: t.TempDir(), State: envoytest.SocketDir(t), ready: make(chan struct{}), ended: make(chan struct{})}
	for name, text := range manifests {
		g.Write(t, name, text)
	}
	admin, metrics := envoytest.FreePort(t), envoytest.FreePort(t)
	g.Admin, g.Metrics = fmt.Sprintf("http://127.0.0.1:%d", admin), fmt.Sprintf("http://127.0.0.1:%d", metrics)
	g.cmd = exec.Command(Binary(t), "run", "-f", g.Dir, "--state", g.State, "--envoy", envoytest.Binary(t),
		"--envoy-concurrency", "1", "--admin-address", g.Admin[len("http://"):], "--metrics-address", g.Metrics[len("http://"):])
	g.cmd.Env = os.Environ()
	for _, option := range options {
		option(g.cmd)
	}
	g.start(t)
	return g
}

func (g *Gateway) start(t testing.TB) {
	t.Helper()
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	g.cmd.Stderr = &g.output
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go g.read(stdout)
	t.Cleanup(func() {
		g.Stop(t)
		if t.Failed() {
			t.Logf("gatehouse's output:\n%s", g.Output())
		}
	})
}

func (g *Gateway) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if lines.Text() == "ready" {
			close(g.ready)
		}
		_, _ = g.output.Write(append(lines.Bytes(), '\n'))
	}
	_ = g.cmd.Wait()
	close(g.ended)
}

// AwaitReady returns once the gateway has printed "ready".
func (g *Gateway) AwaitReady(t testing.TB) {
	t.Helper()
	select {
	case <-g.ready:
	case <-g.ended:
		t.Fatalf("gatehouse ended with %d before it was ready", g.cmd.ProcessState.ExitCode())
	case <-time.After(readyTimeout):
		t.Fatalf("gatehouse was not ready after %v", readyTimeout)
	}
}

// Stop ends the gateway as SIGTERM does and returns its exit code.
func (g *Gateway) Stop(t testing.TB) int {
	t.Helper()
	select {
	case <-g.ended:
		return g.cmd.ProcessState.ExitCode()
	default:
	}
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.ended:
	case <-time.After(Patience):
		_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
		<-g.ended
		t.Errorf("gatehouse didn't end within %v of SIGTERM", Patience)
	}
	return g.cmd.ProcessState.ExitCode()
}

// Wait returns the exit code of a gateway that ends by itself.
func (g *Gateway) Wait(t testing.TB) int {
	t.Helper()
	select {
	case <-g.ended:
		return g.cmd.ProcessState.ExitCode()
	case <-time.After(readyTimeout):
		t.Fatalf("gatehouse still runs after %v", readyTimeout)
		return -1
	}
}

// Pid returns the process id.
func (g *Gateway) Pid() int { return g.cmd.Process.Pid }

// Write replaces a manifest as editors do: the whole file at once.
func (g *Gateway) Write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(g.Dir, name)
	temporary := filepath.Join(g.Dir, "."+name+".tmp")
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

// Remove deletes a manifest.
func (g *Gateway) Remove(t testing.TB, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(g.Dir, name)); err != nil {
		t.Fatal(err)
	}
}

// Output returns what gatehouse and Envoy have printed so far.
func (g *Gateway) Output() string { return g.output.String() }

// Stat returns one of Envoy's counters or gauges, 0 if it doesn't exist yet.
func (g *Gateway) Stat(t testing.TB, name string) int {
	t.Helper()
	for line := range strings.Lines(g.AdminPage(t, "/stats?filter=^"+strings.ReplaceAll(name, ".", "\\.")+"$")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && key == name {
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return n
		}
	}
	return 0
}

// AdminPage returns a page of the admin port.
func (g *Gateway) AdminPage(t testing.TB, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %v\n%s", path, response.StatusCode, err, body)
	}
	return string(body)
}

// AwaitFile returns a file's text once it exists and isn't empty.
func AwaitFile(t testing.TB, path string) string {
	t.Helper()
	var text []byte
	Eventually(t, path, func() (err error) {
		if text, err = os.ReadFile(path); err == nil && len(text) == 0 {
			err = fmt.Errorf("%s is empty", path)
		}
		return err
	})
	return string(text)
}

// Eventually repeats check until it returns nil.
func Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still after %v: %v", what, Patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Output keeps what programs print. It is used concurrently.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns what was printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
