package sdk_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

// helloWorld is a whole extension.
const helloWorld = `package main

import (
	"context"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

func main() {
	sdk.Main(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		x.Request.Header.Set("x-hello", "world")
		return nil
	}))
}
`

// TestAModuleOfItsOwnBuildsAndRuns: what an author needs is one import and fifteen lines.
func TestAModuleOfItsOwnBuildsAndRuns(t *testing.T) {
	t.Parallel()
	if lines := strings.Count(helloWorld, "\n"); lines > 15 {
		t.Errorf("%d lines", lines)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/gatehouse-proxy/gatehouse"
	for name, text := range map[string]string{
		"main.go": helloWorld, "go.sum": string(sums),
		"go.mod": fmt.Sprintf("module example.com/hello\n\ngo 1.26\n\nrequire %s v0.0.0\n\nreplace %s => %s\n", module, module, root),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", "hello", ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOFLAGS=-modcacherw", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	runProgram(t, filepath.Join(dir, "hello"), socket)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("X-Hello"))
	}))
	t.Cleanup(upstream.Close)
	port := envoytest.FreePort(t)
	before, rest, _ := strings.Cut(bootstrap, "- name: envoy.filters.http.ext_authz")
	_, after, _ := strings.Cut(rest, "- name: envoy.filters.http.ext_proc")
	envoytest.Start(t, fmt.Sprintf(before+"- name: envoy.filters.http.ext_proc"+after, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK || answer.Header.Get("X-Seen") != "world" {
		t.Errorf("answer %d, %v", answer.StatusCode, answer.Header)
	}
}

// runProgram starts an extension and returns when it says that it serves.
func runProgram(t *testing.T, path, socket string) {
	t.Helper()
	program := exec.CommandContext(t.Context(), path, "--listen", "unix:"+socket)
	log, err := program.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Process.Kill(); _ = program.Wait() })
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"msg":"serving"`) {
			return
		}
	}
	t.Fatal("the program has ended")
}
