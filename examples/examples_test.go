// Package examples_test runs every example as a user does: the built program, its manifest, and a gateway
// with the real Envoy.
package examples_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if bin != "" {
		_ = os.RemoveAll(bin)
	}
	os.Exit(code)
}

var (
	bin      string
	build    sync.Once
	buildErr error
)

// programs builds gatehouse and all examples once, and returns where: linking takes longer than all tests.
func programs(t *testing.T, names []string) string {
	t.Helper()
	build.Do(func() {
		if bin, buildErr = os.MkdirTemp("", "gatehouse-examples-"); buildErr != nil {
			return
		}
		args := []string{"./examples/backend"}
		for _, name := range names {
			args = append(args, "./examples/"+name)
		}
		for dir, packages := range map[string][]string{bin: {"./cmd/gatehouse"}, filepath.Join(bin, "examples"): args} {
			command := exec.Command("go", append([]string{"build", "-o", dir + "/"}, packages...)...)
			command.Dir = ".."
			if out, err := command.CombinedOutput(); err != nil {
				buildErr = fmt.Errorf("%w\n%s", err, out)
				return
			}
		}
		buildErr = os.Setenv(gatewaytest.BinaryVariable, filepath.Join(bin, "gatehouse")) //nolint:usetesting // for all tests of the process
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return bin
}

// examples are the names of the examples that have a manifest.
func examples(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*/policy.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no examples", err)
	}
	for _, file := range files {
		names = append(names, filepath.Dir(file))
	}
	return names
}

// start runs a program until the test ends and returns when it listens at address, its first flag.
func start(t *testing.T, path, address string, args ...string) *gatewaytest.Output {
	t.Helper()
	p := &gatewaytest.Output{}
	command := exec.Command(path, append([]string{"--listen", address}, args...)...)
	command.Stdout, command.Stderr = p, p
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(path), p.String())
		}
	})
	gatewaytest.Eventually(t, path, func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return p
}

// stage is all examples behind one gateway.
type stage struct {
	url      string
	port     int
	programs map[string]*gatewaytest.Output
}

var portNumber = regexp.MustCompile(`port: (\d+)`)

// setup builds and starts the examples. Each port of the manifests becomes a free one.
func setup(t *testing.T) *stage {
	t.Helper()
	names := examples(t)
	bin := filepath.Join(programs(t, names), "examples")
	ports := map[string]int{}
	free := func(number string) int {
		if ports[number] == 0 {
			ports[number] = envoytest.FreePort(t)
		}
		return ports[number]
	}
	manifests := map[string]string{}
	for _, name := range append(names, "gateway") {
		file := filepath.Join(name, "policy.yaml")
		if name == "gateway" {
			file = "gateway.yaml"
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		manifests[name+".yaml"] = portNumber.ReplaceAllStringFunc(string(text), func(m string) string {
			return fmt.Sprintf("port: %d", free(strings.TrimPrefix(m, "port: ")))
		})
	}
	s := &stage{programs: map[string]*gatewaytest.Output{}, port: ports["8080"]}
	s.url = fmt.Sprintf("http://127.0.0.1:%d", s.port)
	start(t, filepath.Join(bin, "backend"), fmt.Sprintf("127.0.0.1:%d", ports["9001"]))
	for _, name := range names {
		text, _ := os.ReadFile(filepath.Join(name, "policy.yaml"))
		address := ""
		for _, m := range portNumber.FindAllStringSubmatch(string(text), -1) {
			address = fmt.Sprintf("127.0.0.1:%d", ports[m[1]])
		}
		s.programs[name] = start(t, filepath.Join(bin, name), address, flags[name]...)
	}
	gatewaytest.Start(t, manifests)
	return s
}

// flags are what an example needs to run.
var flags = map[string][]string{"signed": {"--key-file", "testdata/key"}}

// TestExamples has one gateway for all, as each is a route of its own.
func TestExamples(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds and starts many programs")
	}
	s := setup(t)
	trials := map[string]func(t *testing.T, s *stage){
		"tenant": tenant, "redact": redact, "tokens": tokens, "signed": signed,
		"compress": compress, "grpcguard": grpcguard, "waf": waf, "middleware": netHTTP,
	}
	for name := range s.programs {
		if trials[name] == nil {
			t.Errorf("nobody tries %s", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trials[name](t, s)
		})
	}
}

// TestOneCommandRunsAnExample: run.sh brings everything, and leaves nothing.
func TestOneCommandRunsAnExample(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds and starts many programs")
	}
	port := envoytest.FreePort(t)
	temp := envoytest.SocketDir(t)
	command := exec.Command("./run.sh", "compress")
	command.Env = append(os.Environ(), "TMPDIR="+temp, "BIN="+programs(t, examples(t)), "ENVOY="+envoytest.Binary(t), fmt.Sprintf("PORT=%d", port),
		fmt.Sprintf("BACKEND_PORT=%d", envoytest.FreePort(t)), fmt.Sprintf("PROCESSOR_PORT=%d", envoytest.FreePort(t)),
		fmt.Sprintf("GATEHOUSE_ARGS=--admin-address 127.0.0.1:%d --metrics-address 127.0.0.1:%d --envoy-concurrency 1", envoytest.FreePort(t), envoytest.FreePort(t)))
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	output := &gatewaytest.Output{}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) })
	read := make(chan struct{})
	go func() { _, _ = io.Copy(output, out); close(read) }()
	url := fmt.Sprintf("http://127.0.0.1:%d/text", port)
	awaitLine(t, output, read, "curl -si "+url)
	a := gatewaytest.Await(t, url, 200, "accept-encoding: gzip")
	if a.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%v\n%s", a.Header, output.String())
	}
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-read // nobody holds the output any more, so all have ended
	_ = command.Wait()
	if left, _ := filepath.Glob(filepath.Join(temp, "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// awaitLine waits for a text in what a command prints, for as long as building may take where nothing is
// cached.
func awaitLine(t *testing.T, output *gatewaytest.Output, ended <-chan struct{}, text string) {
	t.Helper()
	late := time.After(10 * time.Minute)
	for !strings.Contains(output.String(), text) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ended:
			t.Fatalf("it ended without %q:\n%s", text, output.String())
		case <-late:
			t.Fatalf("it hasn't printed %q after 10 minutes:\n%s", text, output.String())
		}
	}
}
