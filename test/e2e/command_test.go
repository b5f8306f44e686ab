package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

func itoa(n int) string { return strconv.Itoa(n) }

// command runs gatehouse to its end.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(gatewaytest.Binary(t), args...)
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), diagnostics.String(), cmd.ProcessState.ExitCode()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	old := filepath.Join(t.TempDir(), "envoy")
	script := "#!/bin/sh\necho 'envoy  version: 0123456789abcdef/1.39.1/Clean/RELEASE/BoringSSL'\n"
	if err := os.WriteFile(old, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	good := writeFile(t, gatewayManifest(freePort(t)))
	bad := writeFile(t, gatewayManifest(freePort(t))+"\n---\nkind: HTTPRoute\napiVersion: gateway.networking.k8s.io/v1\nmetadata: {name: r}\nspec: {parentRef: []}\n")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":                 {[]string{"--help"}, 0, "Available Commands"},
		"version":              {[]string{"version"}, 0, "Envoy 1.40.0"},
		"no files":             {[]string{"run"}, 2, "-f is missing"},
		"unknown flag":         {[]string{"run", "--nope"}, 2, "--nope"},
		"unknown command":      {[]string{"nope"}, 2, "nope"},
		"stray argument":       {[]string{"translate", "x"}, 2, "unexpected argument"},
		"unknown format":       {[]string{"translate", "-f", good, "-o", "xml"}, 2, "xml"},
		"nothing to read":      {[]string{"run", "-f", "/nonexistent", "--state", t.TempDir()}, 1, "/nonexistent"},
		"no Envoy":             {[]string{"run", "-f", good, "--envoy", "/nonexistent/envoy", "--state", t.TempDir()}, 3, "/nonexistent/envoy"},
		"an Envoy too old":     {[]string{"run", "-f", good, "--envoy", old, "--state", t.TempDir()}, 3, "1.39.1"},
		"translate":            {[]string{"translate", "-f", good}, 0, "listeners:"},
		"translate bad":        {[]string{"translate", "-f", bad}, 1, "parentRef"},
		"auth without policy":  {[]string{"auth", "-f", good, "--default-policy", "x"}, 2, "NAMESPACE/NAME"},
		"auth half configured": {[]string{"auth", "-f", good, "--tls-cert", "x"}, 2, "--tls-key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := command(t, test.args...)
			if code != test.code || !strings.Contains(stdout+stderr, test.says) {
				t.Errorf("exit %d, want %d and %q in:\n%s%s", code, test.code, test.says, stdout, stderr)
			}
		})
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNothingIsLeftBehind: neither by a stop nor by a kill.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	t.Run("stop", func(t *testing.T) {
		t.Parallel()
		port := freePort(t)
		g := gatewaytest.Start(t, all(gatewayManifest(port)))
		if code := g.Stop(t); code != 0 {
			t.Errorf("exit %d, want 0", code)
		}
		checkNoEnvoy(t, g.State)
		sockets, err := filepath.Glob(filepath.Join(g.State, "*.sock*"))
		if err != nil || len(sockets) > 0 {
			t.Errorf("sockets left: %q %v", sockets, err)
		}
	})
	t.Run("kill", func(t *testing.T) {
		t.Parallel()
		backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
		manifests := all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b"))
		g := gatewaytest.Start(t, manifests)
		if err := syscall.Kill(g.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		g.Wait(t)
		gatewaytest.Eventually(t, "Envoy's end", func() error { return findEnvoy(g.State) })
		again := gatewaytest.Start(t, manifests, gatewaytest.Args("--state", g.State))
		if a := gatewaytest.Get(t, at(port, "/")); a.Status != 200 {
			t.Errorf("after a restart in the same state directory: %d, want 200", a.Status)
		}
		_, stderr, code := command(t, "run", "-f", again.Dir, "--state", g.State, "--envoy", envoytest.Binary(t))
		if code != 3 || !strings.Contains(stderr, g.State) {
			t.Errorf("a second run in one state directory: exit %d: %s", code, stderr)
		}
	})
}

func checkNoEnvoy(t *testing.T, state string) {
	t.Helper()
	if err := findEnvoy(state); err != nil {
		t.Error(err)
	}
}

// findEnvoy reports a process whose command line names the state directory.
func findEnvoy(state string) error {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		if strings.Contains(string(text), state) && strings.Contains(string(text), "envoy") {
			return errors.New("still running: " + strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return nil
}
