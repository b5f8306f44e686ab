package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// allGrants open namespace far to default, and default's routes to far's policies.
const allGrants = `
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: policies, namespace: far}
spec:
  from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: default}, {group: gateway.envoyproxy.io, kind: EnvoyExtensionPolicy, namespace: default}]
  to: [{group: "", kind: Secret}, {group: gateway.envoyproxy.io, kind: Backend}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: objects, namespace: far}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}, {group: gateway.networking.k8s.io, kind: Gateway, namespace: default}]
  to: [{group: "", kind: Secret}, {group: gateway.envoyproxy.io, kind: Backend}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: stranger}
spec: {from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: far}], to: [{group: gateway.networking.k8s.io, kind: HTTPRoute}]}
`

// TestS42EveryReferenceNeedsItsGrant: of every kind that leads to another namespace, whatever it leads to, and a
// stranger's policy too, for as long as the grant is there. What can name no namespace can't be made to.
func TestS42EveryReferenceNeedsItsGrant(t *testing.T) {
	t.Parallel()
	backend, mirrored, port, tlsPort := gatewaytest.NewBackend(t, "b"), gatewaytest.NewBackend(t, "copy"), freePort(t), freePort(t)
	processor := serveProcessor(t, func(_ context.Context, x *sdk.Exchange) error {
		x.Request.Header.Set("x-processed", "yes")
		return nil
	})
	const far = "group: gateway.envoyproxy.io, kind: Backend, namespace: far, name: "
	policies := map[string]string{
		"users":  "  basicAuth: {users: {name: users, namespace: far}}",
		"keys":   "  apiKeyAuth: {credentialRefs: [{name: keys, namespace: far}], extractFrom: [{headers: [x-api-key]}]}",
		"oidc":   "  oidc: {provider: {issuer: 'https://idp.example', authorizationEndpoint: 'https://idp.example/a', tokenEndpoint: 'https://idp.example/t'}, clientID: c, clientSecret: {name: oidc, namespace: far}}",
		"server": "  extAuth: {failOpen: true, headersToExtAuth: [x-pass], http: {backendRefs: [{" + far + "door}]}}",
		// These name things of their own namespace alone.
		"module":    "  opa: {modules: [{type: ValueRef, valueRef: {kind: ConfigMap, name: rego, namespace: far}}]}",
		"elsewhere": "  opa: {modules: [{type: ValueRef, valueRef: {kind: ConfigMap, name: far/rego}}]}",
		"jwks":      "  jwt: {providers: [{name: p, issuer: i, localJWKS: {type: ValueRef, valueRef: {kind: ConfigMap, name: jwks, namespace: far}}}]}",
		"context":   "  extAuth: {contextExtensions: [{name: a, type: ValueRef, valueRef: {kind: Secret, name: users, key: .htpasswd, namespace: far}}], grpc: {backendRefs: [{" + far + "door}]}}",
	}
	rules := map[string]string{
		"backend": "backendRefs: [{" + far + "b}]",
		"mirror":  "filters: [{type: RequestMirror, requestMirror: {backendRef: {" + far + "copy}}}]\n" + to("b"),
		"filter":  "filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP, http: {allowedHeaders: [x-pass]}, backendRef: {" + far + "door}}}]\n" + to("b"),
		"process": to("b"), "stranger": to("b"), "namesake": to("b"),
	}
	manifests := []string{gatewayManifest(port), backendManifest("b", backend.Port)}
	for _, manifest := range []string{
		backendManifest("b", backend.Port), backendManifest("copy", mirrored.Port), backendManifest("door", newDoorman(t).Port), grpcBackendManifest("processor", processor),
		usersManifest, keysManifest, oidcSecret, gatewaytest.NewCertificate(t, "far.example").Secret("cert"),
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rego}\ndata: {a.rego: \"package envoy.authz\\nallow := true\"}\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: jwks}\ndata: {jwks: '" + gatewaytest.NewIssuer(t, "https://i").JWKS() + "'}\n",
		onTarget("stranger", "kind: HTTPRoute, name: stranger", basicSpec), policyManifest("namesake", basicSpec),
	} {
		manifests = append(manifests, inNamespace("far", manifest))
	}
	last := len(manifests) - 1
	manifests[last-1] = strings.Replace(manifests[last-1], "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: stranger}]",
		"targetSelectors: [{kind: HTTPRoute, namespaces: {from: All}, matchLabels: {app: stranger}}]", 1)
	manifests[last] = strings.Replace(manifests[last], "name: namesake}]", "name: namesake, namespace: default}]", 1)
	for name, spec := range policies {
		rules[name] = to("b")
		manifests = append(manifests, policyManifest(name, spec))
	}
	for name, rule := range rules {
		manifests = append(manifests, strings.Replace(route(name, "", "matches: ["+prefix("/"+name)+"]\n"+rule), "metadata: {name: "+name+"}", "metadata: {name: "+name+", labels: {app: "+name+"}}", 1))
	}
	manifests = append(manifests, strings.Replace(httpsManifest(tlsPort, "https==far"), "{name: gw}", "{name: tls}", 1), "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: process}\nspec:\n"+
		"  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: process}]\n  extProc: [{failOpen: true, backendRefs: [{"+far+"processor}], processingMode: {request: {}}}]\n")
	files := all(manifests...)
	files["all.yaml"] = strings.Replace(files["all.yaml"], "certificateRefs: [far]", "certificateRefs: [{name: cert, namespace: far}]", 1)
	g := gatewaytest.Start(t, files)

	statuses := map[string][2]int{ // without the grants, and with them
		"users": {503, 200}, "keys": {503, 200}, "oidc": {503, 302}, "server": {503, 200}, "process": {503, 200}, "backend": {500, 200}, "filter": {500, 200},
		"mirror": {200, 200}, "stranger": {200, 401}, "namesake": {200, 200}, "module": {503, 503}, "elsewhere": {503, 503}, "jwks": {503, 503}, "context": {503, 503},
	}
	headers := map[string]string{"users": basicAlice, "keys": "x-api-key: key-of-ci", "server": "x-pass: yes", "filter": "x-pass: yes"}
	check := func(when string, granted int) {
		for name, want := range statuses {
			header := headers[name]
			if header == "" {
				header = "x-a: b"
			}
			gatewaytest.Eventually(t, when+": "+name, func() error {
				a := gatewaytest.Get(t, at(port, "/"+name), header)
				if a.Status != want[granted] {
					return fmt.Errorf("%d, want %d", a.Status, want[granted])
				}
				if processed := a.Seen.Header.Get("x-processed"); name == "process" && granted == 1 && processed != "yes" {
					return fmt.Errorf("it wasn't processed")
				}
				return nil
			})
		}
		gatewaytest.Eventually(t, when+": the certificate", func() error {
			if _, err := overTLS(tlsPort, "far.example", "far.example", "http/1.1"); (err == nil) != (granted == 1) {
				return fmt.Errorf("served: %t", err == nil)
			}
			return nil
		})
	}
	check("without grants", 0)
	if n := len(mirrored.Requests()); n != 0 {
		t.Errorf("%d copies without a grant", n)
	}
	g.Write(t, "grants.yaml", allGrants)
	check("with grants", 1)
	gatewaytest.Eventually(t, "a copy", func() error {
		_ = gatewaytest.Get(t, at(port, "/mirror"))
		if len(mirrored.Requests()) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	g.Remove(t, "grants.yaml")
	check("revoked", 0)
	copies := len(mirrored.Requests())
	if a := gatewaytest.Get(t, at(port, "/mirror")); a.Status != http.StatusOK || len(mirrored.Requests()) != copies {
		t.Errorf("revoked: %d, %d copies more", a.Status, len(mirrored.Requests())-copies)
	}
}
