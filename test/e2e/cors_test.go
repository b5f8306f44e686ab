package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const (
	origin   = "Origin: https://app.example"
	corsSpec = `
  cors: {allowOrigins: ["https://app.example"], allowMethods: [GET, POST], allowHeaders: [authorization], exposeHeaders: [x-answer], allowCredentials: true, maxAge: 10m}`
	denyAllButAdmin = `
  opa:
    modules:
    - {type: Inline, inline: "package envoy.authz\nimport rego.v1\ndefault allow := false\nallow if input.parsed_path[0] != \"forbidden\""}`
)

// checkCORS checks that an answer is readable by a script of the allowed origin: each header once.
func checkCORS(t *testing.T, what string, h http.Header) {
	t.Helper()
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Credentials": "true",
	} {
		if got := h.Values(name); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: %s is %q, want %q once", what, name, got, want)
		}
	}
	if vary := strings.Join(h.Values("Vary"), ", "); !strings.Contains(vary, "Origin") {
		t.Errorf("%s: Vary is %q, want Origin in it", what, vary)
	}
}

// TestCORSHeadersOnEveryAnswer: a script can read a denial and a failure as well as a success.
func TestCORSHeadersOnEveryAnswer(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Launch(t, all(gatewayManifest(port), usersManifest,
		routeManifest("r", prefix("/"), "b"), backendManifest("b", backend.Port), policyManifest("r", basicSpec+corsSpec+denyAllButAdmin),
		routeManifest("down", prefix("/down"), "nobody"), backendManifest("nobody", freePort(t)), policyManifest("down", basicSpec+corsSpec),
	), gatewaytest.Args("--envoy", "none"))
	envoy := startOwnEnvoy(t, g)
	for name, test := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"success":         {"/x", []string{basicAlice}, 200},
		"backend's error": {"/x", []string{basicAlice, "x-want-status: 500"}, 500},
		"no credentials":  {"/x", nil, 401},
		"denied":          {"/forbidden", []string{basicAlice}, 403},
		"upstream gone":   {"/down", []string{basicAlice}, 503},
	} {
		a := gatewaytest.Get(t, at(port, test.path), append(test.header, origin)...)
		if a.Status != test.want {
			t.Errorf("%s: %d, want %d", name, a.Status, test.want)
		}
		checkCORS(t, name, a.Header)
	}
	if a := gatewaytest.Get(t, at(port, "/x"), "Origin: https://evil.example"); a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign origin got Access-Control-Allow-Origin %q", a.Header.Get("Access-Control-Allow-Origin"))
	}

	if err := syscall.Kill(g.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.Wait(t)
	a := gatewaytest.Await(t, at(port, "/x"), http.StatusServiceUnavailable, basicAlice, origin)
	checkCORS(t, "authorizer gone", a.Header)
	envoy.Stop()
}

// startOwnEnvoy runs an Envoy on the bootstrap that `--envoy none` wrote.
func startOwnEnvoy(t *testing.T, g *gatewaytest.Gateway) *envoytest.Envoy {
	t.Helper()
	path := filepath.Join(g.State, "envoy.yaml")
	bootstrap := gatewaytest.AwaitFile(t, path)
	e := envoytest.Start(t, bootstrap)
	g.AwaitReady(t)
	return e
}

// TestPreflightOnMethodMatch: a rule that matches only POST never sees the OPTIONS request.
func TestPreflightOnMethodMatch(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), usersManifest, backendManifest("b", backend.Port),
		routeManifest("r", "{path: {type: PathPrefix, value: /api}, method: POST, headers: [{name: x-kind, value: a}]}", "b"),
		policyManifest("r", basicSpec+corsSpec)))
	preflight := func(header ...string) gatewaytest.Answer {
		return gatewaytest.Send(t, http.MethodOptions, at(port, "/api/x"), header...)
	}
	a := preflight(origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization")
	if a.Status != http.StatusNoContent {
		t.Fatalf("preflight: %d, want 204", a.Status)
	}
	checkCORS(t, "preflight", a.Header)
	for name, want := range map[string]string{
		"Access-Control-Allow-Methods": "GET", "Access-Control-Allow-Headers": "authorization", "Access-Control-Max-Age": "600",
	} {
		if got := a.Header.Values(name); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s is %q, want %q in it, once", name, got, want)
		}
	}
	failed := preflight("Origin: https://evil.example", "Access-Control-Request-Method: POST")
	if failed.Status != http.StatusForbidden {
		t.Errorf("foreign origin's preflight: %d, want 403", failed.Status)
	}
	for name := range failed.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("foreign origin's preflight has %s", name)
		}
	}
	if a := preflight(origin); a.Status != http.StatusNotFound {
		t.Errorf("a plain OPTIONS that no rule matches: %d, want 404", a.Status)
	}
	if n := len(backend.Requests()); n != 0 {
		t.Errorf("%d preflights reached the backend", n)
	}
	post := gatewaytest.Send(t, http.MethodPost, at(port, "/api/x"), "x-kind: a", origin, basicAlice)
	if post.Status != 200 || fmt.Sprint(post.Seen.Method) != http.MethodPost {
		t.Errorf("POST: %d", post.Status)
	}
	checkCORS(t, "POST", post.Header)
}
