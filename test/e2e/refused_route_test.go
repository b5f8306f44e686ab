package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// refusedByEnvoy is a regular expression that Go takes and Envoy refuses even with its limit raised.
var refusedByEnvoy = "/" + strings.Repeat(`\pL{1,1000}`, 60)

// TestOneRefusedRouteAmongMany: it answers 503 in Envoy's words, and the others change and serve as if it
// weren't there, also after a restart.
func TestOneRefusedRouteAmongMany(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := map[string]string{"base.yaml": gatewayManifest(port) + "\n---\n" + backendManifest("b", backend.Port)}
	for i := range 199 {
		manifests[fmt.Sprintf("r%d.yaml", i)] = routeManifest(fmt.Sprintf("r%d", i), prefix(fmt.Sprintf("/r%d", i)), "b")
	}
	g := gatewaytest.Start(t, manifests)
	g.Write(t, "bad.yaml", route("bad", "", fmt.Sprintf("matches: [{path: {type: RegularExpression, value: '%s'}}]\n%s", refusedByEnvoy, to("b"))))
	g.Write(t, "wide.yaml", routeManifest("wide", prefix("/"), "b"))
	gatewaytest.Eventually(t, "Envoy's words", func() error {
		if !strings.Contains(g.Output(), "httproute/default/bad/rule/0") {
			return fmt.Errorf("the log doesn't name the route")
		}
		return nil
	})
	check := func(when string, g *gatewaytest.Gateway) {
		t.Helper()
		gatewaytest.Await(t, at(port, "/"+strings.Repeat("a", 60)), http.StatusServiceUnavailable)
		awaitStatus(t, g, "HTTPRoute default/bad Accepted False UnsupportedValue", "Envoy refuses rules[0]", "pattern too large")
		for i := range 199 {
			if a := gatewaytest.Get(t, at(port, fmt.Sprintf("/r%d", i))); a.Status != http.StatusOK {
				t.Errorf("%s: route %d: %d, want 200", when, i, a.Status)
			}
		}
	}
	check("refused", g)
	g.Write(t, "r77.yaml", routeManifest("r77", prefix("/moved"), "b"))
	gatewaytest.Await(t, at(port, "/moved"), http.StatusOK)
	g.Write(t, "r77.yaml", manifests["r77.yaml"])
	gatewaytest.Await(t, at(port, "/r77"), http.StatusOK)
	check("after an edit of another route", g)

	g.Stop(t)
	again := gatewaytest.Start(t, nil, gatewaytest.Args("--state", g.State, "-f", g.Dir))
	check("after a restart", again)
	if rejected := again.AdminPage(t, "/stats?filter=\\.rds\\..*update_rejected"); !strings.Contains(rejected, "update_rejected: 0") {
		t.Errorf("after a restart Envoy was sent the route again: %s", rejected)
	}
	g.Write(t, "r78.yaml", routeManifest("r78", prefix("/moved"), "b")) // again reads this folder too
	gatewaytest.Await(t, at(port, "/moved"), http.StatusOK)
	g.Write(t, "r78.yaml", manifests["r78.yaml"])
	gatewaytest.Await(t, at(port, "/r78"), http.StatusOK)
	pid, err := envoyPid(g.State)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Await(t, at(port, "/r78"), http.StatusOK)
	check("after a new Envoy", again)
	g.Write(t, "bad.yaml", routeManifest("bad", prefix("/"+strings.Repeat("a", 60)), "b"))
	gatewaytest.Await(t, at(port, "/"+strings.Repeat("a", 60)), http.StatusOK)
	awaitStatus(t, again, "HTTPRoute default/bad Accepted True")
}
