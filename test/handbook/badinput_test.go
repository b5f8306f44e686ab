package handbook_test

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const openRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: open, namespace: tenant}
spec:
  parentRefs: [{name: default-gateway, namespace: gateway-system}]
  hostnames: [open.example.com]
  rules: [{backendRefs: [{name: backend-service, port: 8080}]}]
`

func TestAnUnknownFieldClosesItsOwnRouteOnly(t *testing.T) {
	isolated(t, func(t *testing.T) {
		b := backend(t)
		policy := rewrite(t, "13-sp-cors", "allowOrigins:", "allowOrigin:")
		open := writeFile(t, "open.yaml", openRoute)
		g := gatewaytest.Start(t, nil, files(example("base"), policy, open))
		wantLogged(t, g, "level=ERROR", policy+":12:", "SecurityPolicy tenant/cors-policy", "spec.cors.allowOrigin:", "allowOrigins?")
		for _, header := range [][]string{nil, {"Origin: https://example.com"}, {"Authorization: Basic eDp5"}} {
			wantStatus(t, get(t, header...), http.StatusServiceUnavailable)
		}
		wantNoCORS(t, preflight(t, "Origin: https://example.com", "Access-Control-Request-Method: GET"))
		if n := len(b.Requests()); n != 0 {
			t.Errorf("%d requests reached the backend", n)
		}
		wantStatus(t, gatewaytest.Get(t, gatewayURL+"/", "Host: open.example.com"), http.StatusOK)
		t.Run("correcting it opens the route", func(t *testing.T) {
			corrected, err := os.ReadFile(example("13-sp-cors"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(policy, corrected, 0o600); err != nil {
				t.Fatal(err)
			}
			a := gatewaytest.Await(t, gatewayURL+"/", http.StatusOK, host, "Origin: https://example.com")
			wantReadable(t, a, "https://example.com")
		})
		t.Run("a second gateway can't share the state directory", func(t *testing.T) {
			code, _, stderr := gatehouse(t, "run", "-f", example("base"), "--state", g.State, "--envoy", envoytest.Binary(t))
			if code != 3 || !strings.Contains(stderr, g.State) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
		if code := g.Stop(t); code != 0 {
			t.Errorf("exit code %d after SIGTERM", code)
		}
	})
}

func TestExitCodesTellWhatIsWrong(t *testing.T) {
	t.Parallel()
	bad := rewrite(t, "13-sp-cors", "allowOrigins:", "allowOrigin:")
	broken := writeFile(t, "broken.yaml", "kind: [")
	gatewaytest.Binary(t) // building it is not part of any command's time
	run := func(args ...string) []string {
		return append([]string{"run", "--envoy", envoytest.Binary(t), "--state", t.TempDir()}, args...)
	}
	for name, test := range map[string]struct {
		args   []string
		code   int
		stderr string
	}{
		"no file":                {run(), 2, "-f"},
		"an unknown flag":        {[]string{"run", "-f", example("base"), "--nonsense"}, 2, "--nonsense"},
		"an unknown command":     {[]string{"nonsense"}, 2, "nonsense"},
		"a file that isn't":      {run("-f", "missing.yaml"), 1, "missing.yaml"},
		"an empty directory":     {run("-f", t.TempDir()), 1, "no manifest in "},
		"nothing readable":       {run("-f", broken), 1, broken + ":"},
		"no Envoy":               {[]string{"run", "-f", example("base"), "--envoy", "/nonexistent/envoy", "--state", t.TempDir()}, 3, "/nonexistent/envoy"},
		"good input, translated": {[]string{"translate", "-f", example("base"), "-f", example("13-sp-cors")}, 0, ""},
		"bad input, translated":  {[]string{"translate", "-f", example("base"), "-f", bad}, 1, bad + ":12: SecurityPolicy tenant/cors-policy: spec.cors.allowOrigin:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := gatehouse(t, test.args...)
			if code != test.code || !strings.Contains(stderr, test.stderr) {
				t.Errorf("exit code %d, want %d and %q on standard error:\n%s", code, test.code, test.stderr, stderr)
			}
			if test.args[0] == "translate" && !strings.Contains(stdout, "www.example.com") {
				t.Errorf("the good part isn't printed:\n%s", stdout)
			}
		})
	}
}

// gatehouse runs a command that ends by itself.
func gatehouse(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, gatewaytest.Binary(t), args...)
	var out, diagnostics bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diagnostics
	// One that doesn't end is told to, so that it takes its Envoy with it.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Errorf("gatehouse %s still ran after 20s", strings.Join(args, " "))
	}
	return cmd.ProcessState.ExitCode(), out.String(), diagnostics.String()
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
