package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// onTarget is a SecurityPolicy with a target as a flow mapping's fields.
func onTarget(name, target, spec string) string {
	policy := policyManifest(name, spec)
	return strings.Replace(policy, "kind: HTTPRoute, name: "+name, target, 1)
}

// TestTheMostSpecificPolicyDecides: rule before route before listener before Gateway, the older of two
// equals, and with mergeType what the outer one adds.
func TestTheMostSpecificPolicyDecides(t *testing.T) {
	t.Parallel()
	const denyAll, allowAll = "  authorization: {defaultAction: Deny}", "  authorization: {defaultAction: Allow}"
	rules := `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, labels: {team: red}}
spec:
  parentRefs: [{name: gw}]
  rules:
  - {name: special, matches: [{path: {value: /special}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}
  - {matches: [{path: {value: /}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}
`
	for name, test := range map[string]struct {
		policies []string
		want     map[string]int // by path
		header   []string
	}{
		"Gateway": {[]string{onTarget("g", "kind: Gateway, name: gw", denyAll)}, map[string]int{"/": 403, "/special": 403}, nil},
		"route over Gateway": {[]string{onTarget("g", "kind: Gateway, name: gw", denyAll), onTarget("r", "kind: HTTPRoute, name: r", allowAll)},
			map[string]int{"/": 200, "/special": 200}, nil},
		"rule over route": {[]string{onTarget("a", "kind: HTTPRoute, name: r", allowAll), onTarget("b", "kind: HTTPRoute, name: r, sectionName: special", denyAll)},
			map[string]int{"/": 200, "/special": 403}, nil},
		"listener over Gateway": {[]string{onTarget("a", "kind: Gateway, name: gw", allowAll), onTarget("b", "kind: Gateway, name: gw, sectionName: http", denyAll)},
			map[string]int{"/": 403}, nil},
		"another listener's policy": {[]string{onTarget("b", "kind: Gateway, name: gw, sectionName: other", denyAll)}, map[string]int{"/": 200}, nil},
		"the older of two": {[]string{
			strings.Replace(onTarget("a", "kind: HTTPRoute, name: r", allowAll), "{name: a}", "{name: a, creationTimestamp: 2026-01-02T00:00:00Z}", 1),
			strings.Replace(onTarget("b", "kind: HTTPRoute, name: r", denyAll), "{name: b}", "{name: b, creationTimestamp: 2026-01-01T00:00:00Z}", 1)},
			map[string]int{"/": 403}, nil},
		"by labels": {[]string{strings.Replace(policyManifest("l", denyAll), "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: l}]",
			"targetSelectors: [{kind: HTTPRoute, matchLabels: {team: red}}]", 1)}, map[string]int{"/": 403}, nil},
		"merged, without a password": {[]string{onTarget("g", "kind: Gateway, name: gw", basicSpec),
			onTarget("r", "kind: HTTPRoute, name: r", "  mergeType: StrategicMerge\n"+allowAll)}, map[string]int{"/": 401}, nil},
		"merged, with a password": {[]string{onTarget("g", "kind: Gateway, name: gw", basicSpec),
			onTarget("r", "kind: HTTPRoute, name: r", "  mergeType: JSONMerge\n"+allowAll)}, map[string]int{"/": 200}, []string{basicAlice}},
		"merged, denied by the inner": {[]string{onTarget("g", "kind: Gateway, name: gw", basicSpec),
			onTarget("r", "kind: HTTPRoute, name: r", "  mergeType: StrategicMerge\n"+denyAll)}, map[string]int{"/": 403}, []string{basicAlice}},
		"merged with a broken one": {[]string{onTarget("g", "kind: Gateway, name: gw", "  basicAuth: {users: {name: nobody}}"),
			onTarget("r", "kind: HTTPRoute, name: r", "  mergeType: StrategicMerge\n"+allowAll)}, map[string]int{"/": 503}, []string{basicAlice}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
			manifests := append([]string{gatewayManifest(port), rules, usersManifest, backendManifest("b", backend.Port)}, test.policies...)
			gatewaytest.Start(t, all(manifests...))
			for path, want := range test.want {
				if a := gatewaytest.Send(t, http.MethodGet, at(port, path), test.header...); a.Status != want {
					t.Errorf("%s: %d, want %d", path, a.Status, want)
				}
			}
		})
	}
}
