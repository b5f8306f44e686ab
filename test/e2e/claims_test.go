package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// The namespaces in which verdicts stand, by the two protocols, and that of Envoy's own JWT filter.
const (
	verdictsByExtAuthz = "envoy.filters.http.ext_authz"
	verdictsByExtProc  = "gatehouse"
	claimsOfEnvoy      = "envoy.filters.http.jwt_authn"
)

// metadataShower is a Backend "shower" with a processor that tells the backend, as JSON, in x-metadata what a verdict
// says, but for proofs, and in x-claims what stands in the namespace of Envoy's own JWT filter.
func metadataShower(t *testing.T) string {
	return grpcBackendManifest("shower", serveProcessor(t, func(_ context.Context, x *sdk.Exchange) error {
		for name, metadata := range map[string]map[string]any{
			"x-metadata": saidBy(x.Metadata(verdictsByExtAuthz), x.Metadata(verdictsByExtProc)), "x-claims": x.Metadata(claimsOfEnvoy),
		} {
			if len(metadata) == 0 {
				continue
			}
			text, err := json.Marshal(metadata)
			if err != nil {
				return err
			}
			x.Request.Header.Set(name, string(text))
		}
		return nil
	}))
}

// saidBy leaves out the proof, and how long it took, which Envoy adds.
func saidBy(verdicts ...map[string]any) map[string]any {
	all := map[string]any{}
	for _, v := range verdicts {
		maps.Copy(all, v)
	}
	delete(all, "seal")
	delete(all, "ext_authz_duration")
	return all
}

// showingMetadata has the processor of metadataShower see what is said about a route's requests.
func showingMetadata(route string) string {
	return `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: ` + route + `}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: ` + route + `}]
  extProc:
  - backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: shower}]
    messageTimeout: 5s
    processingMode: {request: {}}
    metadata: {accessibleNamespaces: [` + verdictsByExtAuthz + ", " + verdictsByExtProc + ", " + claimsOfEnvoy + "]}"
}

// TestProcessorsSeeVerifiedClaims: where Envoy's own JWT filter would put them, by both protocols, and of no caller
// but one whose token was verified.
func TestProcessorsSeeVerifiedClaims(t *testing.T) {
	t.Parallel()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := []string{gatewayManifest(port), backendManifest("b", backend.Port), usersManifest, metadataShower(t)}
	for route, enforcement := range map[string]string{"authz": "ExtAuthz", "proc": "ExtProc"} {
		spec := "  enforcement: " + enforcement + "\n  authMode: Any\n  basicAuth: {users: {name: users}}\n" + jwtSpec(issuer, "")
		manifests = append(manifests, routeManifest(route, prefix("/"+route), "b"), policyManifest(route, spec), showingMetadata(route))
	}
	gatewaytest.Start(t, all(manifests...))
	token := issuer.Token(t, map[string]any{
		"sub": "bob", "aud": []string{"a", "b"}, "level": 3.5, "admin": false, "realm": map[string]any{"roles": []string{"x", "y"}}, "quote": `"\\ü`,
	})
	for _, route := range []string{"/authz", "/proc"} {
		answer := gatewaytest.Send(t, "GET", at(port, route), "Authorization: Bearer "+token)
		var got map[string]map[string]any
		if err := json.Unmarshal([]byte(answer.Seen.Header.Get("x-claims")), &got); err != nil {
			t.Fatalf("%s: %d, %v: %v", route, answer.Status, answer.Seen.Header, err)
		}
		for name, want := range map[string]string{
			"sub": `"bob"`, "aud": `["a","b"]`, "level": `3.5`, "admin": `false`, "realm": `{"roles":["x","y"]}`, "quote": `"\"\\\\ü"`,
		} {
			if text, err := json.Marshal(got["idp"][name]); err != nil || string(text) != want {
				t.Errorf("%s: claim %s is %s, not %s", route, name, text, want)
			}
		}
		if len(got) != 1 {
			t.Errorf("%s: more than the claims: %v", route, got)
		}
		answer = gatewaytest.Send(t, "GET", at(port, route), basicAlice)
		if claims := answer.Seen.Header.Get("x-claims"); answer.Status != 200 || claims != "" {
			t.Errorf("%s: %d, claims of a caller without a token: %s", route, answer.Status, claims)
		}
	}
}
