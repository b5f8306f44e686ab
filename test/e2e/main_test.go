// Package e2e holds tests of what a client sees through `gatehouse run` and a real Envoy.
package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

func TestMain(m *testing.M) { gatewaytest.Main(m) }

// gatewayManifest is a Gateway "gw" with one HTTP listener on loopback.
func gatewayManifest(port int) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: gatehouse
  addresses: [{type: IPAddress, value: 127.0.0.1}]
  listeners: [{name: http, port: %d, protocol: HTTP}]
`, port)
}

// backendManifest is a Backend on a loopback port.
func backendManifest(name string, port int) string {
	return fmt.Sprintf(`
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: %s}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: %d}}]}
`, name, port)
}

// grpcBackendManifest is a Backend on a loopback port that speaks HTTP/2.
func grpcBackendManifest(name string, port int) string {
	return strings.Replace(backendManifest(name, port), "spec: {", "spec: {appProtocols: [gateway.envoyproxy.io/h2c], ", 1)
}

// routeManifest is an HTTPRoute of "gw" with one rule to a Backend; match is a flow mapping.
func routeManifest(name, match, backend string) string {
	return route(name, "", "matches: ["+match+"]\n"+to(backend))
}

// prefix is a match of a path prefix.
func prefix(path string) string { return "{path: {type: PathPrefix, value: " + path + "}}" }

// policyManifest is a SecurityPolicy of the HTTPRoute of the same name; spec is indented by two.
func policyManifest(name, spec string) string {
	return fmt.Sprintf(`
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: %s}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: %s}]
%s
`, name, name, spec)
}

// usersManifest is a Secret with the user alice, whose password is "password", as {SHA}, and bob, whose
// password is "secret", as apr1.
const usersManifest = `
apiVersion: v1
kind: Secret
metadata: {name: users}
stringData:
  .htpasswd: |
    alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=
    bob:$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0
`

const (
	basicAlice = "Authorization: Basic YWxpY2U6cGFzc3dvcmQ="
	basicSpec  = "  basicAuth: {users: {name: users}}"
)

// jwtSpec trusts one issuer; extra goes into the provider.
func jwtSpec(issuer *gatewaytest.Issuer, extra string) string {
	return fmt.Sprintf(`  jwt:
    providers:
    - name: idp
      issuer: %s
      localJWKS: {type: Inline, inline: '%s'}
%s`, issuer.URL, issuer.JWKS(), extra)
}

func all(manifests ...string) map[string]string {
	return map[string]string{"all.yaml": strings.Join(manifests, "\n---\n")}
}

func freePort(t *testing.T) int {
	t.Helper()
	return envoytest.FreePort(t)
}

func at(port int, path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", port, path) }
