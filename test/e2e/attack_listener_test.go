package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// listenersManifest is a Gateway with HTTP listeners of one port: "name=hostname", in that order.
func listenersManifest(gateway string, port int, listeners ...string) string {
	lines := []string{`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ` + gateway + `}
spec:
  gatewayClassName: gatehouse
  addresses: [{type: IPAddress, value: 127.0.0.1}]
  listeners:`}
	for _, l := range listeners {
		name, hostname, _ := strings.Cut(l, "=")
		line := fmt.Sprintf("  - {name: %s, port: %d, protocol: HTTP", name, port)
		if hostname != "" {
			line += ", hostname: \"" + hostname + "\""
		}
		lines = append(lines, line+"}")
	}
	return strings.Join(lines, "\n") + "\n"
}

// targeting is a SecurityPolicy that asks for alice's password, with targets as a flow sequence.
func targeting(name, targets string) string {
	return "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: " + name + "}\nspec:\n" +
		"  targetRefs: [" + targets + "]\n" + basicSpec + "\n"
}

// TestAttackThroughTheWiderListener: a route that two listeners of a port take is served below the one
// with the narrower hostname alone, so that the policy of that listener can't be passed by.
func TestAttackThroughTheWiderListener(t *testing.T) {
	t.Parallel()
	for name, listeners := range map[string][]string{
		"any host first":  {"any=", "a=a.example"},
		"any host last":   {"a=a.example", "any="},
		"wildcard first":  {"wild=*.example", "a=a.example"},
		"nested wildcard": {"wild=*.example", "a=*.a.example", "any="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret, open, port := gatewaytest.NewBackend(t, "secret"), gatewaytest.NewBackend(t, "open"), freePort(t)
			gatewaytest.Start(t, all(listenersManifest("gw", port, listeners...), usersManifest,
				backendManifest("secret", secret.Port), backendManifest("open", open.Port),
				route("secret", "a.example, x.a.example", to("secret")), route("open", "", "matches: [{path: {value: /open}}]\n"+to("open")),
				targeting("p", "{group: gateway.networking.k8s.io, kind: Gateway, name: gw, sectionName: a}")))
			host := "Host: a.example"
			if name == "nested wildcard" {
				host = "Host: x.a.example"
			}
			for _, path := range []string{"/", "/open"} {
				if a := gatewaytest.Get(t, at(port, path), host); a.Status != http.StatusUnauthorized {
					t.Errorf("%s without a password: %d from %q, want 401", path, a.Status, a.Seen.Backend)
				}
				if a := gatewaytest.Get(t, at(port, path), host, basicAlice); a.Status != http.StatusOK {
					t.Errorf("%s with the password: %d, want 200", path, a.Status)
				}
			}
			if a := gatewaytest.Get(t, at(port, "/open"), "Host: b.example"); a.Status != http.StatusOK {
				t.Errorf("the wider listener: %d, want 200", a.Status)
			}
		})
	}
}

// TestAttackWithAnotherGatewaysTrust: a Gateway that believes X-Forwarded-For doesn't make another one on
// the same socket believe it.
func TestAttackWithAnotherGatewaysTrust(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, all(listenersManifest("a", port, "http=a.example"), listenersManifest("gw", port, "http=b.example"), `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
metadata: {name: a}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: a}]
  clientIPDetection: {xForwardedFor: {numTrustedHops: 1}}
`, backendManifest("b", backend.Port), route("r", "b.example", to("b")),
		policyManifest("r", "  authorization: {defaultAction: Deny, rules: [{action: Allow, principal: {clientCIDRs: [10.0.0.0/8]}}]}")))
	for _, header := range []string{"X-Forwarded-For: 10.1.1.1", "X-Real-IP: 10.1.1.1"} {
		if a := gatewaytest.Get(t, at(port, "/"), "Host: b.example", header); a.Status == http.StatusOK {
			t.Errorf("%s: %d, want a denial", header, a.Status)
		}
	}
	if len(backend.Requests()) != 0 {
		t.Error("a request reached the backend")
	}
	if out := g.Output(); !strings.Contains(out, "detects the client's address otherwise") {
		t.Error("the log doesn't tell of the conflict")
	}
}
