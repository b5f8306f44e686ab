package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/bundletest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestBundlesDecide: from a server with a signature, and from a file, each told of in the status.
func TestBundlesDecide(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	private, public := bundletest.Key(t)
	signed := func(method string) []byte {
		files := map[string]string{".manifest": `{"revision": "` + method + `", "roots": ["envoy"]}`, "a.rego": "package envoy.authz\ndefault allow := false\nallow if input.attributes.request.http.method == \"" + method + `"`}
		return bundletest.Signed(t, files, private, "RS256")
	}
	server := bundletest.Serve(t, signed("GET"))
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	write := func(module string) {
		if err := os.WriteFile(file, bundletest.Archive(t, map[string]string{"a.rego": "package envoy.authz\n" + module}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("allow := true")
	indent := func(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") }
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port),
		routeManifest("served", prefix("/served"), "b"), routeManifest("filed", prefix("/filed"), "b"),
		fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: trust}
data:
  ca.crt: |
    %s
  key: |
    %s
`, indent(server.CA), indent(public)),
		policyManifest("served", fmt.Sprintf(`
  opa:
    bundles:
    - url: %s/b.tar.gz
      pollInterval: 1s
      caCertificateRef: {kind: ConfigMap, name: trust}
      allowPrivateAddresses: true
      signing: {keyRef: {kind: ConfigMap, name: trust}}
`, server.URL)),
		policyManifest("filed", "  opa: {bundles: [{url: 'file://"+file+"'}]}")))

	await := func(what, method, path string, want int) {
		t.Helper()
		gatewaytest.Eventually(t, what, func() error {
			if a := gatewaytest.Send(t, method, at(port, path)); a.Status != want {
				return fmt.Errorf("%s %s: %d, want %d", method, path, a.Status, want)
			}
			return nil
		})
	}
	await("the file's bundle", "GET", "/filed", 200)
	await("the server's bundle", "GET", "/served", 200)
	await("the server's bundle", "PUT", "/served", 403)
	awaitStatus(t, g, "SecurityPolicy", "served", "revision GET")

	server.Publish(signed("PUT"))
	await("the next bundle", "PUT", "/served", 200)
	await("the next bundle", "GET", "/served", 403)
	write("allow := false")
	await("the changed file", "GET", "/filed", 403)

	other, _ := bundletest.Key(t)
	server.Publish(bundletest.Signed(t, map[string]string{"a.rego": "package envoy.authz\nallow := true"}, other, "RS256"))
	write("allow if {")
	awaitStatus(t, g, "SecurityPolicy", "served", "BundleStale", "signature")
	awaitStatus(t, g, "SecurityPolicy", "filed", "BundleStale", "a.rego:2")
	await("the last good bundle", "GET", "/served", 403)
	await("the last good file", "GET", "/filed", 403)
}
