package e2e

import (
	"bytes"
	"cmp"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	cases := writeFile(t, "cases: [{request: {url: 'http://127.0.0.1:1/'}}]")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // the rows are tried after this function
	taken := listener.Addr().String()
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
		"a slip in a command":  {[]string{"valdate"}, 2, "did you mean validate?"},
		"stray argument":       {[]string{"translate", "x"}, 2, "unexpected argument"},
		"a file without -f":    {[]string{"translate", good}, 2, "manifests are named by -f"},
		"no such Gateway":      {[]string{"translate", "-f", good, "--gateway", "default/other"}, 2, "no such Gateway"},
		"a kind of resources":  {[]string{"translate", "-f", good, "--type", "clusters"}, 2, "cluster"},
		"no gateway runs":      {[]string{"status", "--server", "127.0.0.1:1"}, 3, "gatehouse run"},
		"address of nothing":   {[]string{"status", "--server", "gateway"}, 2, "host:port"},
		"report nowhere":       {[]string{"test", "-f", good, "--junit", "/nonexistent/r.xml", cases}, 3, "--junit"},
		"test without Envoy":   {[]string{"test", "-f", good, "--envoy=/nonexistent/envoy", cases}, 3, "/nonexistent/envoy"},
		"auth nowhere":         {[]string{"auth", "-f", good, "--listen", "127.0.0.1"}, 2, "neither host:port nor unix:/path"},
		"auth without a path":  {[]string{"auth", "-f", good, "--listen", "unix:"}, 2, "names no path"},
		"auth without files":   {[]string{"auth", "-f", "/nonexistent", "--listen", "127.0.0.1:0"}, 1, "/nonexistent"},
		"auth, port taken":     {[]string{"auth", "-f", good, "--state", t.TempDir(), "--listen", taken}, 3, "in use"},
		"auth, no certificate": {[]string{"auth", "-f", good, "--state", t.TempDir(), "--listen", "127.0.0.1:0", "--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"}, 3, "/nonexistent"},
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

// TestEveryCommand has an example in its help, a hint for a wrong call, and one form for what is wrong with manifests,
// wherever these come from.
func TestEveryCommand(t *testing.T) {
	t.Parallel()
	good := gatewayManifest(8080) + "\n---\n" + backendManifest("b", 9) + "\n---\n" + routeManifest("r", prefix("/"), "b") + "\n---\n" + usersManifest
	bad := good + "\n---\n" + policyManifest("r", basicSpec+"\n  opa: {modules: [{type: Inline, inline: 'package x\nallow if {'}]}")
	cases := writeFile(t, "cases: [{request: {url: 'http://h:8080/'}}]")
	// Of each command: what else it needs, and its exit code for manifests with an error.
	commands := map[string]struct {
		args []string
		code int
	}{
		"run": {nil, -1}, "auth": {[]string{"--print-envoy-config", "--state", t.TempDir()}, 1}, "translate": {[]string{"--state", t.TempDir()}, 1}, "validate": {nil, 1},
		"status": {nil, 1}, "explain": {[]string{"GET", "http://h:8080/"}, 1}, "audit": {nil, 1}, "test": {[]string{cases}, 0}, "version": {nil, -1},
	}
	help, _, _ := command(t, "--help")
	_, listed, _ := strings.Cut(help, "Available Commands:\n")
	listed, _, _ = strings.Cut(listed, "\n\n")
	for line := range strings.Lines(listed) {
		if name := strings.Fields(line)[0]; name != "help" && commands[name].args == nil && commands[name].code == 0 {
			t.Errorf("nothing is said of %s here", name)
		}
	}
	dir := t.TempDir()
	for path, text := range map[string]string{"a.yml": good, "deep/er/b.yaml": strings.TrimPrefix(bad, good+"\n---\n"), "c.txt": "not read"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range commands {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if stdout, _, code := command(t, name, "--help"); code != 0 || !strings.Contains(stdout, "Examples:\n  gatehouse "+name) {
				t.Errorf("exit %d, no example in\n%s", code, stdout)
			}
			if _, stderr, code := command(t, name, "--no-such-flag"); code != 2 || !strings.Contains(stderr, "gatehouse "+name+" --help") {
				t.Errorf("unknown flag: exit %d: %s", code, stderr)
			}
			if c.code < 0 {
				return
			}
			for from, test := range map[string]struct {
				paths       []string
				stdin, file string
			}{
				"a file": {paths: []string{writeFile(t, bad)}}, "a directory": {paths: []string{dir}, file: filepath.Join(dir, "deep/er/b.yaml")},
				"standard input": {paths: []string{"-"}, stdin: bad, file: "<stdin>"}, "several": {paths: []string{writeFile(t, good), filepath.Join(dir, "deep")}, file: filepath.Join(dir, "deep/er/b.yaml")},
			} {
				args := []string{name}
				for _, path := range test.paths {
					args = append(args, "-f", path)
				}
				cmd := exec.Command(gatewaytest.Binary(t), append(args, c.args...)...)
				cmd.Stdin = strings.NewReader(test.stdin)
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				_ = cmd.Run()
				want := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(cmp.Or(test.file, test.paths[0])) + `:\d+: SecurityPolicy default/r: spec\.opa\.modules\[0\]: `)
				if name == "status" { // which tells in the object's status
					want = regexp.MustCompile(`SecurityPolicy +default/r +Accepted.* +False +Invalid +spec\.opa\.modules\[0\]: `)
				}
				if code := cmd.ProcessState.ExitCode(); code != c.code || !want.MatchString(stdout.String()+stderr.String()) {
					t.Errorf("%s: exit %d, want %d and %v in\n%s", from, code, c.code, want, stderr.String())
				}
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
