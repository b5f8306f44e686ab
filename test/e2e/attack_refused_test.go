package e2e

import (
	"net/http"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAttackByAMatchThatEnvoyRefuses: such a match keeps no neighbour from its next policy, and what it
// was to protect isn't left to a wider rule.
func TestAttackByAMatchThatEnvoyRefuses(t *testing.T) {
	t.Parallel()
	for name, match := range map[string]string{
		"query in a prefix":          `{path: {value: "/admin?a=b"}}`,
		"fragment in an exact path":  `{path: {type: Exact, value: "/admin#a"}}`,
		"no slash":                   `{path: {value: admin}}`,
		"expression for Go only":     `{path: {type: RegularExpression, value: '/admin\p{Letter}*'}}`,
		"header expression likewise": `{path: {value: /admin}, headers: [{name: x-a, type: RegularExpression, value: '\p{Letter}+'}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret, open, port := gatewaytest.NewBackend(t, "secret"), gatewaytest.NewBackend(t, "open"), freePort(t)
			g := gatewaytest.Start(t, all(gatewayManifest(port), usersManifest, backendManifest("secret", secret.Port), backendManifest("open", open.Port),
				route("good", "good.example", to("open"))))
			g.Write(t, "evil.yaml", all(route("evil", "evil.example", "matches: ["+match+"]\n"+to("secret")), policyManifest("evil", basicSpec),
				route("wide", "evil.example", to("open")), policyManifest("good", basicSpec))["all.yaml"])
			gatewaytest.Await(t, at(port, "/"), http.StatusUnauthorized, "Host: good.example")
			if a := gatewaytest.Get(t, at(port, "/admin?a=b"), "Host: evil.example", "x-a: b"); a.Status < 400 {
				t.Errorf("%d from %q, want a denial", a.Status, a.Seen.Backend)
			}
		})
	}
}
