package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const byExtProc = "\n  enforcement: ExtProc"

// TestEnforcementByExtProcFailsClosed: without the authorizer its routes answer 503, and the others serve.
func TestEnforcementByExtProcFailsClosed(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Launch(t, all(gatewayManifest(port), usersManifest, backendManifest("b", backend.Port),
		routeManifest("guarded", prefix("/guarded"), "b"), policyManifest("guarded", basicSpec+corsSpec+byExtProc), routeManifest("open", prefix("/open"), "b"),
	), gatewaytest.Args("--envoy", "none"))
	startOwnEnvoy(t, g)
	gatewaytest.Await(t, at(port, "/guarded"), http.StatusOK, basicAlice)
	g.Stop(t)
	before := len(backend.Requests())
	a := gatewaytest.Get(t, at(port, "/guarded"), basicAlice, origin)
	if a.Status != http.StatusServiceUnavailable || len(backend.Requests()) != before {
		t.Errorf("guarded: %d, want 503 and nothing at the backend", a.Status)
	}
	checkCORS(t, "without the authorizer", a.Header)
	if a := gatewaytest.Get(t, at(port, "/open")); a.Status != http.StatusOK {
		t.Errorf("open: %d, want 200", a.Status)
	}
}

// TestEnforcementByExtProcKnowsTheRequest: the client's address as it was detected and not as the client
// says, the policy by the route and not by a header, and the route anew where the verdict asks for it.
func TestEnforcementByExtProcKnowsTheRequest(t *testing.T) {
	t.Parallel()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	one, two, port := gatewaytest.NewBackend(t, "one"), gatewaytest.NewBackend(t, "two"), freePort(t)
	recompute := strings.Replace(policyManifest("plain", jwtSpec(issuer, `
      recomputeRoute: true
      claimToHeaders: [{claim: role, header: x-role}]`)+byExtProc),
		"name: plain}]", "name: plain}, {group: gateway.networking.k8s.io, kind: HTTPRoute, name: chosen}]", 1)
	gatewaytest.Start(t, all(gatewayManifest(port), `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
metadata: {name: c}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]
  clientIPDetection: {xForwardedFor: {numTrustedHops: 1}}`,
		backendManifest("one", one.Port), backendManifest("two", two.Port), recompute,
		routeManifest("plain", prefix("/"), "one"), routeManifest("chosen", "{headers: [{name: x-role, value: admin}]}", "two"),
		routeManifest("near", prefix("/near"), "one"), policyManifest("near", `
  authorization:
    rules: [{action: Allow, principal: {clientCIDRs: [192.0.2.0/24]}, cel: "source.address == '192.0.2.7:0' && request.protocol == 'HTTP/1.1' && request.time > timestamp('2020-01-01T00:00:00Z')"}]`+byExtProc)))
	for role, backend := range map[string]string{"user": "one", "admin": "two"} {
		a := gatewaytest.Get(t, at(port, "/"), "Authorization: Bearer "+issuer.Token(t, map[string]any{"role": role}))
		if a.Status != 200 || a.Seen.Backend != backend {
			t.Errorf("role %s: %d from %q, want 200 from %q", role, a.Status, a.Seen.Backend, backend)
		}
	}
	for name, test := range map[string]struct {
		header []string
		want   int
	}{
		"detected":                {[]string{"x-forwarded-for: 192.0.2.7"}, 200},
		"another":                 {[]string{"x-forwarded-for: 198.51.100.7"}, 403},
		"claimed":                 {[]string{"x-forwarded-for: 198.51.100.7", "x-gatehouse-client-ip: 192.0.2.7"}, 403},
		"S44 policy in a header":  {[]string{"x-forwarded-for: 198.51.100.7", "gatehouse.policy: default/other"}, 403},
		"S44 our own description": {[]string{"x-forwarded-for: 192.0.2.7", "x-gatehouse-extproc: v=1", "gatehouse.policy: default/other"}, 200},
	} {
		a := gatewaytest.Get(t, at(port, "/near"), test.header...)
		if a.Status != test.want {
			t.Errorf("%s: %d, want %d", name, a.Status, test.want)
		}
		if a.Status == 200 && a.Seen.Header.Get("x-gatehouse-client-ip") != "" {
			t.Errorf("%s: the backend sees our own header", name)
		}
	}
}

// TestEnforcementOfUpgrades: a WebSocket is decided once, by either protocol, and then left alone.
func TestEnforcementOfUpgrades(t *testing.T) {
	t.Parallel()
	echo, port := serve(t, upgrade), freePort(t)
	manifests := []string{gatewayManifest(port), fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: ws}\nspec: {clusterIP: 127.0.0.1, ports: [{port: %d, appProtocol: kubernetes.io/ws}]}\n", echo)}
	specs := map[string]string{
		"allowed": `  authorization: {rules: [{action: Allow, cel: "request.headers.upgrade == 'websocket'"}]}`,
		"denied":  `  authorization: {rules: [{action: Deny, cel: "request.headers.upgrade == 'websocket'"}], defaultAction: Allow}`,
		"marked": `  opa: {modules: [{type: Inline, inline: "package envoy.authz\nimport rego.v1\nallow := {\"allowed\": true, \"response_headers_to_add\": {\"x-a\": \"b\"}} if input.attributes.request.http.method == \"GET\""}]}` +
			"\n  cors: {allowOrigins: ['https://app.example']}",
	}
	for name, spec := range specs {
		for _, enforcement := range []string{"ExtAuthz", "ExtProc"} {
			path := name + strings.ToLower(enforcement)
			manifests = append(manifests, route(path, "", fmt.Sprintf("matches: [%s]\nbackendRefs: [{name: ws, port: %d}]", prefix("/"+path), echo)),
				policyManifest(path, spec+"\n  enforcement: "+enforcement))
		}
	}
	gatewaytest.Start(t, all(manifests...))
	for path, want := range map[string]string{
		"/allowedextauthz": "hello", "/allowedextproc": "hello", "/markedextauthz": "hello", "/markedextproc": "hello",
		"/deniedextauthz": "403 Forbidden", "/deniedextproc": "403 Forbidden",
	} {
		if got, err := websocketEcho(port, path); err != nil || got != want {
			t.Errorf("%s: %q %v, want %q", path, got, err, want)
		}
	}
}
