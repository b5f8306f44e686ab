package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// inNamespace puts the objects of a manifest into a namespace.
func inNamespace(namespace, manifest string) string {
	return strings.ReplaceAll(manifest, "metadata: {name: ", "metadata: {namespace: "+namespace+", name: ")
}

// openGateway is the Gateway default/gw for routes of all namespaces.
func openGateway(port int) string {
	return strings.Replace(gatewayManifest(port), "protocol: HTTP}", "protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}", 1)
}

// TestAttackByASlipInTheTarget: whatever is wrong with how a policy names its target, what it can only
// have meant isn't served without it. Every case has a namespace of its own.
func TestAttackByASlipInTheTarget(t *testing.T) {
	t.Parallel()
	const group = "group: gateway.networking.k8s.io, "
	cases := []struct {
		name, targets string
		want          int
	}{
		{"kind in lower case", "targetRefs: [{" + group + "kind: httproute, name: r}]", 503},
		{"kind in plural", "targetRefs: [{" + group + "kind: HTTPRoutes, name: r}]", 503},
		{"no kind", "targetRefs: [{" + group + "name: r}]", 503},
		{"field kind misspelt", "targetRefs: [{" + group + "knd: HTTPRoute, name: r}]", 503},
		{"field name misspelt", "targetRefs: [{" + group + "kind: HTTPRoute, nme: r}]", 503},
		{"targetRef and targetRefs", "targetRef: {" + group + "kind: HTTPRoute, name: other}\n  targetRefs: [{" + group + "kind: HTTPRoute, name: r}]", 503},
		{"version in the group", "targetRefs: [{group: gateway.networking.k8s.io/v1, kind: HTTPRoute, name: r}]", 503},
		{"no group", "targetRefs: [{kind: HTTPRoute, name: r}]", 503},
		{"section of a wrong type", "targetRefs: [{" + group + "kind: HTTPRoute, name: r, sectionName: 3}]", 503},
		{"element of a wrong type", "targetRefs: [{" + group + "kind: HTTPRoute, name: r}, 7]", 503},
		{"selector of all", "targetSelectors: [{kind: HTTPRoute}]", 401},
		{"selector without labels", "targetSelectors: [{kind: HTTPRoute, matchLabels: {}}]", 401},
		{"selector by label", "targetSelectors: [{kind: HTTPRoute, matchLabels: {app: x}}]", 401},
		{"selector with an unknown operator", "targetSelectors: [{kind: HTTPRoute, matchExpressions: [{key: app, operator: Equals, values: [x]}]}]", 503},
		{"selector with a bad label", "targetSelectors: [{kind: HTTPRoute, matchLabels: {\"a b\": x}}]", 503},
		{"selector kind in lower case", "targetSelectors: [{kind: httproute, matchLabels: {app: x}}]", 503},
		{"selector field misspelt", "targetSelectors: [{kind: HTTPRoute, matchLabel: {app: x}}]", 503},
		{"selector of all namespaces", "targetSelectors: [{kind: HTTPRoute, namespaces: {from: All}, matchLabels: {app: x}}]", 401},
		{"selector of namespaces without labels", "targetSelectors: [{kind: HTTPRoute, namespaces: {from: Selector}, matchLabels: {app: x}}]", 503},
		{"selector of namespaces from nowhere", "targetSelectors: [{kind: HTTPRoute, namespaces: {from: al}, matchLabels: {app: x}}]", 503},
		{"selector of namespaces, misspelt", "targetSelectors: [{kind: HTTPRoute, namespace: {from: All}, matchLabels: {app: x}}]", 503},
	}
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := []string{openGateway(port)}
	for i, test := range cases {
		route := strings.Replace(routeManifest("r", prefix(fmt.Sprintf("/%d", i)), "b"), "{name: r}", "{name: r, labels: {app: x}}", 1)
		route = strings.Replace(route, "parentRefs: [{name: gw}]", "parentRefs: [{name: gw, namespace: default}]", 1)
		policy := "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p}\nspec:\n  " + test.targets + "\n" + basicSpec
		for _, manifest := range []string{route, backendManifest("b", backend.Port), usersManifest, policy} {
			manifests = append(manifests, inNamespace(fmt.Sprintf("ns%d", i), manifest))
		}
	}
	gatewaytest.Start(t, all(manifests...))
	for i, test := range cases {
		if a := gatewaytest.Get(t, at(port, fmt.Sprintf("/%d", i))); a.Status != test.want {
			t.Errorf("%s: %d, want %d", test.name, a.Status, test.want)
		}
	}
	if len(backend.Requests()) != 0 {
		t.Error("a request reached the backend without a password")
	}
}

// TestAttackByASlipInTheRoute: a rule that can't be served as it is written doesn't leave its requests to
// a wider rule that asks for less.
func TestAttackByASlipInTheRoute(t *testing.T) {
	t.Parallel()
	secret, open, port := gatewaytest.NewBackend(t, "secret"), gatewaytest.NewBackend(t, "open"), freePort(t)
	rules := map[string]string{
		"unknown field":        "matches: [{path: {value: /PATH}}]\nfilterz: []",
		"rules misspelt":       "",
		"header expression":    "matches: [{path: {value: /PATH}, headers: [{name: x-a, type: RegularExpression, value: \"(\"}]}]",
		"query expression":     "matches: [{path: {value: /PATH}, queryParams: [{name: a, type: RegularExpression, value: \"[\"}]}]",
		"path expression":      "matches: [{path: {type: RegularExpression, value: \"/PATH/(a|b\"}}]",
		"path alternatives":    "matches: [{path: {type: RegularExpression, value: \"/PATH/a|/PATH/b)\"}}]",
		"shadowed by slashes":  "matches: [{path: {value: /PATH/users}}]",
		"backend's wrong type": "matches: [{path: {value: /PATH}}]\ntimeouts: {request: soon}",
	}
	manifests := []string{gatewayManifest(port), usersManifest, backendManifest("secret", secret.Port), backendManifest("open", open.Port)}
	names := map[string]string{}
	for name, rule := range rules {
		host := strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "'", "")
		names[host] = name
		manifest := route(host, host+".example", strings.TrimSpace(strings.ReplaceAll(rule, "PATH", "admin")+"\n"+to("secret")))
		if name == "rules misspelt" {
			manifest = strings.Replace(manifest, "  rules:", "  ruless:", 1)
		}
		manifests = append(manifests, manifest, policyManifest(host, basicSpec), route(host+"-open", host+".example", to("open")))
	}
	manifests = append(manifests, route("slashes", "shadowed-by-slashes.example", "matches: [{path: {value: \"/admin//////////////////\"}}]\n"+to("open")))
	gatewaytest.Start(t, all(manifests...))
	for host, name := range names {
		for _, header := range []string{"x-b: c", basicAlice} {
			a := gatewaytest.Get(t, at(port, "/admin/users?a=b"), "Host: "+host+".example", "x-a: (", header)
			if a.Seen.Backend == "open" || a.Status == http.StatusOK && header != basicAlice {
				t.Errorf("%s, %s: %d from %q, want a denial", name, header[:4], a.Status, a.Seen.Backend)
			}
		}
	}
}

// TestAttackByAHostname: hostnames that are none take neither their neighbours' routes nor their
// neighbours' next policy along.
func TestAttackByAHostname(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, all(gatewayManifest(port), usersManifest, backendManifest("b", backend.Port),
		route("good", "good.example", to("b")), route("evil", `"a\nb", "*.*.x", "a*b", "good.*", "**", "", "a b", "\u0000"`, to("b"))))
	if a := gatewaytest.Get(t, at(port, "/"), "Host: good.example"); a.Status != http.StatusOK {
		t.Fatalf("the neighbour: %d, want 200", a.Status)
	}
	g.Write(t, "policy.yaml", policyManifest("good", basicSpec))
	gatewaytest.Await(t, at(port, "/"), http.StatusUnauthorized, "Host: good.example")
	for _, host := range []string{"good.org", "a.b.x", "acb"} {
		if a := gatewaytest.Get(t, at(port, "/"), "Host: "+host); a.Status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", host, a.Status)
		}
	}
}
