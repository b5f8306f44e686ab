package explain_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
)

// TestWhatIsntPlayedIsSaid: a login, a limit or a server of the user's own may still object.
func TestWhatIsntPlayedIsSaid(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		url, filter, note string
		protected         bool
	}{
		"security-oidc": {"http://h:8080/good", "oidc", "oidc comes before the policy", true},
		"security-csrf": {"http://h:8080/good", "csrf", "forwarded unless one of those objects", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile("../../translator/testdata/" + name + ".txtar")
			if err != nil {
				t.Fatal(err)
			}
			files := txtar.Parse(text).Files
			at := slices.IndexFunc(files, func(f txtar.File) bool { return f.Name == "in.yaml" })
			g := gateway(t, string(files[at].Data))
			answer, err := g.Explain(t.Context(), &explain.Request{Method: "GET", URL: test.url})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(answer.Filters, test.filter) || !strings.Contains(strings.Join(answer.Notes, "\n"), test.note) {
				t.Errorf("filters %q, notes %q", answer.Filters, answer.Notes)
			}
			for _, way := range g.Audit() {
				if way.Route.Match == "path prefix /good" && way.Protected() != test.protected {
					t.Errorf("protected %t by %q", way.Protected(), way.Authentication)
				}
			}
		})
	}
}

// TestAFaultyRouteSaysWhatIsWrong with it, and nothing of its other rules.
func TestAFaultyRouteSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	g := gateway(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: gatehouse, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - {matches: [{path: {value: /gone}}], backendRefs: [{name: gone, port: 80}]}
  - {matches: [{path: {value: /other}}], backendRefs: [{name: other, port: 80}]}
`)
	answer, err := g.Explain(t.Context(), &explain.Request{Method: "GET", URL: "http://h:8080/gone"})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(answer.Notes, "\n")
	if answer.Verdict.Status != 500 || !strings.Contains(notes, "Service default/gone doesn't exist") || strings.Contains(notes, "default/other") {
		t.Errorf("%+v %q", answer.Verdict, answer.Notes)
	}
}

// TestAnAuditTellsWhoFailsOpen: such a server still asks who is calling.
func TestAnAuditTellsWhoFailsOpen(t *testing.T) {
	t.Parallel()
	g := gateway(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: gatehouse, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: 9}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]
  extAuth: {failOpen: true, grpc: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}}
`)
	ways := g.Audit()
	if len(ways) != 1 || !slices.Equal(ways[0].Authentication, []string{"ext_authz securitypolicy/default/p/extauth, failOpen"}) {
		t.Errorf("%+v", ways)
	}
}
