package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestOneBadPolicyDeniesItsRouteOnly: whatever is wrong with it, and it works once that is mended.
func TestOneBadPolicyDeniesItsRouteOnly(t *testing.T) {
	t.Parallel()
	rego := func(text string) string {
		return "  opa: {modules: [{type: Inline, inline: " + text + "}]}"
	}
	for name, test := range map[string]struct {
		spec, extra string
		said        string
		mended      string
	}{
		"missing Secret": {
			spec: "  basicAuth: {users: {name: nobody}}", said: "Secret default/nobody doesn't exist",
			mended: strings.Replace(usersManifest, "name: users", "name: nobody", 1),
		},
		"Secret in another namespace": {
			spec: "  basicAuth: {users: {name: users, namespace: elsewhere}}", said: "no ReferenceGrant",
			extra: strings.Replace(usersManifest, "{name: users}", "{name: users, namespace: elsewhere}", 1),
			mended: `
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: grant, namespace: elsewhere}
spec:
  from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: default}]
  to: [{group: "", kind: Secret}]`,
		},
		"unusable password line": {
			spec: basicSpec, said: "line 1", extra: strings.Replace(usersManifest, "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "alice:{FOO}hash-in-file", 1),
		},
		"broken Rego":            {spec: rego(`"package envoy.authz\nallow if {"`), said: "rego"},
		"forbidden Rego builtin": {spec: rego(`"package envoy.authz\nimport rego.v1\nallow if http.send({}).status == 200"`), said: "http.send"},
		"missing ConfigMap":      {spec: "  opa: {modules: [{type: ValueRef, valueRef: {group: \"\", kind: ConfigMap, name: rules}}]}", said: "ConfigMap default/rules doesn't exist"},
		"unknown field":          {spec: basicSpec + "\n  basicAuht: {}", said: "basicAuth"},
		"unsupported rule":       {spec: "  authorization: {defaultAction: Allow, rules: [{action: Deny, principal: {clientIPGeoLocations: [{country: SE}]}}]}", said: "clientIPGeoLocations"},
		"API key with a newline": {spec: keySpec, said: "line break", extra: strings.Replace(keysManifest, "key-of-ci", `"hash-in-file\n"`, 1)},
		"one client twice": {
			spec: strings.Replace(keySpec, "{name: keys}", "{name: keys}, {name: more}", 1), said: "billing",
			extra: keysManifest + "---" + strings.Replace(keysManifest, "name: keys", "name: more", 1),
		},
		"key set without any key": {spec: "  jwt: {providers: [{name: p, localJWKS: {type: Inline, inline: '{\"keys\":[]}'}}]}", said: "key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
			manifests := all(gatewayManifest(port), backendManifest("b", backend.Port),
				routeManifest("bad", prefix("/bad"), "b"), policyManifest("bad", test.spec),
				routeManifest("good", prefix("/good"), "b"), routeManifest("open", prefix("/"), "b"),
				policyManifest("good", "  opa: {modules: [{type: Inline, inline: \"package envoy.authz\\nallow := true\"}]}"))
			if test.extra != "" {
				manifests["extra.yaml"] = test.extra
			}
			g := gatewaytest.Start(t, manifests)
			for i := range 3 {
				if a := gatewaytest.Get(t, at(port, "/bad"), basicAlice); a.Status != http.StatusServiceUnavailable {
					t.Errorf("request %d to the bad route: %d, want 503", i, a.Status)
				}
			}
			for _, path := range []string{"/good", "/"} {
				if a := gatewaytest.Get(t, at(port, path)); a.Status != http.StatusOK {
					t.Errorf("%s: %d, want 200", path, a.Status)
				}
			}
			if out := g.Output(); !strings.Contains(out, test.said) {
				t.Errorf("the log doesn't say %q", test.said)
			}
			if strings.Contains(g.Output(), "hash-in-file") {
				t.Error("the log shows a password hash")
			}
			if test.mended != "" {
				g.Write(t, "mended.yaml", test.mended)
				gatewaytest.Await(t, at(port, "/bad"), http.StatusOK, basicAlice)
			}
		})
	}
}

// routeUpdates is the page of counters of RouteConfigurations that Envoy took.
const routeUpdates = "/stats?filter=\\.rds\\..*update_success"

// TestPasswordRotation: a changed Secret is in force at once, without a route update.
func TestPasswordRotation(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b"), policyManifest("r", basicSpec))
	manifests["users.yaml"] = usersManifest
	g := gatewaytest.Start(t, manifests)
	const bob = "Authorization: Basic Ym9iOnNlY3JldA=="
	for range 2 { // the second time from the cache
		if a := gatewaytest.Get(t, at(port, "/"), bob); a.Status != http.StatusOK {
			t.Fatalf("bob: %d, want 200", a.Status)
		}
	}
	updates := g.AdminPage(t, routeUpdates)
	if !strings.Contains(updates, "update_success: 1") {
		t.Fatalf("route updates at first: %s", updates)
	}
	g.Write(t, "users.yaml", strings.Replace(usersManifest, "bob:", "carol:", 1))
	gatewaytest.Await(t, at(port, "/"), http.StatusUnauthorized, bob)
	if a := gatewaytest.Get(t, at(port, "/"), basicAlice); a.Status != http.StatusOK {
		t.Errorf("alice: %d, want 200", a.Status)
	}
	if again := g.AdminPage(t, routeUpdates); again != updates {
		t.Errorf("the rotation updated routes: %s", again)
	}
}

// TestRegoFromConfigMap: modules and data come from a ConfigMap, and an edit of it is in force at once.
func TestRegoFromConfigMap(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	rules := `
apiVersion: v1
kind: ConfigMap
metadata: {name: rules}
data:
  main.rego: |
    package envoy.authz
    import rego.v1
    default allow := false
    allow if input.attributes.request.http.headers["x-team"] in data.teams
  data.json: '{"teams": ["red"]}'
`
	manifests := all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b"),
		policyManifest("r", `  opa: {modules: [{type: ValueRef, valueRef: {group: "", kind: ConfigMap, name: rules}}]}`))
	manifests["rules.yaml"] = rules
	g := gatewaytest.Start(t, manifests)
	for team, want := range map[string]int{"red": 200, "blue": 403} {
		if a := gatewaytest.Get(t, at(port, "/"), "x-team: "+team); a.Status != want {
			t.Errorf("team %s: %d, want %d", team, a.Status, want)
		}
	}
	g.Write(t, "rules.yaml", strings.Replace(rules, `"red"`, `"blue"`, 1))
	gatewaytest.Await(t, at(port, "/"), http.StatusOK, "x-team: blue")
	if a := gatewaytest.Get(t, at(port, "/"), "x-team: red"); a.Status != http.StatusForbidden {
		t.Errorf("team red after the edit: %d, want 403", a.Status)
	}
}
