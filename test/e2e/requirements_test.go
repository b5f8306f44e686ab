package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestS9S44S49NothingOfARequestChoosesItsPolicy: neither a spelling of the host, nor a header that is named
// like what the configuration says to the authorizer, nor the looks of a health check.
func TestS9S44S49NothingOfARequestChoosesItsPolicy(t *testing.T) {
	t.Parallel()
	open, secret, port := gatewaytest.NewBackend(t, "open"), gatewaytest.NewBackend(t, "secret"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), usersManifest, backendManifest("open", open.Port), backendManifest("secret", secret.Port),
		route("open", "", to("open")), policyManifest("open", "  cors: {allowOrigins: [\"https://a.example\"]}"),
		route("host", "admin.example", to("secret")), policyManifest("host", basicSpec),
		route("streamed", "streamed.example", to("secret")), policyManifest("streamed", basicSpec+byExtProc)))
	for _, host := range []string{"admin.example", "streamed.example"} {
		if a := gatewaytest.Get(t, at(port, "/"), "Host: "+host, basicAlice); a.Status != http.StatusOK {
			t.Fatalf("%s with a password: %d", host, a.Status)
		}
	}
	before := len(secret.Requests())
	spellings := map[string]bool{"S9 upper case": true, "S9 trailing dot": true, "S9 port": true, "S9 port and dot": true, "S9 forwarded host": true}
	for name, header := range map[string][]string{
		"S9 upper case":               {"Host: ADMIN.EXAMPLE"},
		"S9 trailing dot":             {"Host: admin.example."},
		"S9 port":                     {"Host: admin.example:8443"},
		"S9 port and dot":             {"Host: admin.example.:80"},
		"S9 empty port":               {"Host: admin.example:"},
		"S9 userinfo":                 {"Host: user@admin.example"},
		"S9 userinfo with a password": {"Host: open.example:x@admin.example"},
		"S9 IPv6 literal":             {"Host: [::1]:80"},
		"S9 two hosts":                {"Host: admin.example, open.example"},
		"S9 forwarded host":           {"Host: admin.example", "X-Forwarded-Host: open.example", "Forwarded: host=open.example"},
		"S44 extension":               {"Host: admin.example", "gatehouse.policy: default/open"},
		"S44 extension, no policy":    {"Host: admin.example", "gatehouse.policy: "},
		"S44 with underscores":        {"Host: admin.example", "gatehouse_policy: default/open", "x-gatehouse-policy: default/open"},
		"S44 route":                   {"Host: admin.example", "gatehouse.route: httproute/default/open/rule/0"},
		"S44 metadata":                {"Host: admin.example", "x-envoy-metadata: {\"envoy.filters.http.ext_authz\":{\"seal\":\"x\"}}"},
		"S44 seal":                    {"Host: admin.example", "gatehouse.seal: x", "x-gatehouse-seal: x"},
		"S44 reference of ext_proc":   {"Host: streamed.example", "gatehouse.policy: default/open", "gatehouse.route: httproute/default/open/rule/0"},
		"S44 self-description":        {"Host: streamed.example", "x-gatehouse-extproc: v=1; override; observe; untyped=gatehouse"},
		"S44 metadata of gRPC":        {"Host: streamed.example", "grpc-metadata-gatehouse.policy: default/open", "gatehouse-policy: default/open"},
		"S44 attributes of ext_proc":  {"Host: streamed.example", "envoy.filters.http.ext_proc: {\"gatehouse.policy\":\"default/open\"}"},
		"S49 probe of a stream":       {"Host: streamed.example", "User-Agent: kube-probe/1.30", "x-envoy-internal: true"},
		"S44 client address":          {"Host: admin.example", "x-gatehouse-client-ip: 127.0.0.1", "gatehouse.client-address: header"},
		"S49 kubelet":                 {"Host: admin.example", "User-Agent: kube-probe/1.30"},
		"S49 load balancer":           {"Host: admin.example", "User-Agent: GoogleHC/1.0"},
		"S49 another one":             {"Host: admin.example", "User-Agent: ELB-HealthChecker/2.0"},
		"S49 Envoy's own":             {"Host: admin.example", "User-Agent: Envoy/HC", "x-envoy-internal: true"},
		"S49 health check header":     {"Host: admin.example", "x-envoy-upstream-healthchecked-cluster: a", "x-health-check: 1"},
	} {
		for _, path := range []string{"/", "/healthz", "/ping", "/.well-known/ready"} {
			a, err := gatewaytest.Try(http.MethodGet, at(port, path), header...)
			if err == nil && a.Seen.Backend == "secret" {
				t.Errorf("%s %s: %d from %q", name, path, a.Status, a.Seen.Backend)
			}
			// Spellings of the protected host itself: taken for another one they would reach the open route.
			if err == nil && spellings[name] && a.Status != http.StatusUnauthorized {
				t.Errorf("%s %s: %d, want 401 of the host's own route", name, path, a.Status)
			}
			if err == nil && a.Status == http.StatusOK && header[0] != "Host: open.example" && len(header) > 1 {
				t.Errorf("%s %s: passes", name, path)
			}
		}
	}
	if n := len(secret.Requests()) - before; n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
}

// TestS42OnlyAGrantOpensAnotherNamespace: for the kind, the namespace and the name that it says, and as long
// as it is there.
func TestS42OnlyAGrantOpensAnotherNamespace(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	grant := func(namespace, from, to string) string {
		return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: %s}\nspec: {from: [{%s}], to: [{%s}]}\n", namespace, from, to)
	}
	const from, to = "group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: default", `group: "", kind: Secret`
	g := gatewaytest.Start(t, map[string]string{
		"all.yaml": strings.Join([]string{
			gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b"),
			policyManifest("r", "  basicAuth: {users: {name: users, namespace: elsewhere}}"), strings.Replace(usersManifest, "{name: users}", "{name: users, namespace: elsewhere}", 1),
		}, "\n---\n"),
		"grant.yaml": grant("elsewhere", from, to),
	})
	if a := gatewaytest.Get(t, at(port, "/"), basicAlice); a.Status != http.StatusOK {
		t.Fatalf("with a grant: %d", a.Status)
	}
	for name, text := range map[string]string{
		"of another kind":           grant("elsewhere", "group: gateway.envoyproxy.io, kind: ClientTrafficPolicy, namespace: default", to),
		"of another group":          grant("elsewhere", "group: gateway.networking.k8s.io, kind: SecurityPolicy, namespace: default", to),
		"for another namespace":     grant("elsewhere", "group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: other", to),
		"for every namespace":       grant("elsewhere", `group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: "*"`, to),
		"to another kind":           grant("elsewhere", from, `group: "", kind: ConfigMap`),
		"to another Secret":         grant("elsewhere", from, `group: "", kind: Secret, name: others`),
		"in the policy's namespace": grant("default", from, to),
		"in a third namespace":      grant("third", from, to),
		"with nobody in it":         strings.Replace(grant("elsewhere", from, to), "from: [{"+from+"}]", "from: []", 1),
		"that is gone":              gatewayManifest(port),
	} {
		g.Write(t, "grant.yaml", grant("elsewhere", from, to))
		gatewaytest.Await(t, at(port, "/"), http.StatusOK, basicAlice)
		g.Write(t, "grant.yaml", text)
		gatewaytest.Eventually(t, "a grant "+name, func() error {
			if a := gatewaytest.Get(t, at(port, "/"), basicAlice); a.Status != http.StatusServiceUnavailable {
				return fmt.Errorf("%d, want 503", a.Status)
			}
			return nil
		})
	}
}
