package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const ruleSpec = `
  authorization:
    defaultAction: Deny
    rules:
    - name: never
      action: Deny
      operation: {path: {type: PathPrefix, value: /admin}}
    - name: admins
      action: Allow
      principal: {jwt: {provider: idp, claims: [{name: realm.roles, valueType: StringArray, values: [admin]}]}}
    - name: banned teams
      action: Deny
      principal: {headers: [{name: x-team, values: [banned]}]}
    - name: readers
      action: Allow
      operation: {methods: [GET], path: {type: RegularExpression, value: "/(docs|api)/.*"}}
      principal: {clientCIDRs: ["127.0.0.0/8"], jwt: {provider: idp, scopes: [read]}, headers: [{name: x-kind, values: [person]}]}`

// TestRulesDecideByClaimsHeadersAndPaths: in their order, on the path as it was routed, and by the claims
// that were verified.
func TestRulesDecideByClaimsHeadersAndPaths(t *testing.T) {
	t.Parallel()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), routeManifest("r", prefix("/"), "b"), backendManifest("b", backend.Port),
		policyManifest("r", jwtSpec(issuer, "      claimToHeaders: [{claim: kind, header: x-kind}]")+ruleSpec)))
	bearer := func(claims map[string]any) string { return "Authorization: Bearer " + issuer.Token(t, claims) }
	admin := bearer(map[string]any{"realm": map[string]any{"roles": []string{"user", "admin"}}})
	reader := bearer(map[string]any{"scope": "write read", "kind": "person"})
	robot := bearer(map[string]any{"scope": "write read", "kind": "robot"})
	for name, test := range map[string]struct {
		method, path string
		header       []string
		want         int
	}{
		"no token":                            {path: "/docs/a", want: 401},
		"reader":                              {path: "/docs/a", header: []string{reader}, want: 200},
		"reader, query":                       {path: "/docs/a?x=/admin", header: []string{reader}, want: 200},
		"reader, other path":                  {path: "/other?/docs/a", header: []string{reader}, want: 403},
		"reader, other method":                {method: http.MethodPost, path: "/docs/a", header: []string{reader}, want: 403},
		"reader of a banned team":             {path: "/docs/a", header: []string{reader, "x-team: good", "x-team: banned"}, want: 403},
		"robot":                               {path: "/docs/a", header: []string{robot}, want: 403},
		"S14 robot that says it's a person":   {path: "/docs/a", header: []string{robot, "x-kind: person"}, want: 403},
		"admin":                               {method: http.MethodDelete, path: "/other", header: []string{admin, "x-team: banned"}, want: 200},
		"admin on a denied path":              {path: "/admin/x", header: []string{admin}, want: 403},
		"S3 dot segments":                     {path: "/docs/../admin", header: []string{admin}, want: 403},
		"S3 encoded dot segments":             {path: "/docs/%2e%2e/admin", header: []string{admin}, want: 403},
		"S4 parameters":                       {path: "/admin;x=y/z", header: []string{admin}, want: 403},
		"S4 dot segment with parameters":      {path: "/docs/..;/admin", header: []string{admin}, want: 403},
		"S3 letters written as escapes":       {path: "/%61dmin", header: []string{admin}, want: 403},
		"S1 S3 slashes that repeat":           {path: "//admin", header: []string{admin}, want: 403},
		"S7 headers that claim another path":  {path: "/admin", header: []string{admin, "x-envoy-original-path: /docs/a", "x-original-url: /docs/a"}, want: 403},
		"S7 headers that claim another path'": {path: "/other", header: []string{reader, "x-envoy-original-path: /docs/a"}, want: 403},
	} {
		method := test.method
		if method == "" {
			method = http.MethodGet
		}
		before := len(backend.Requests())
		a := gatewaytest.Send(t, method, at(port, test.path), test.header...)
		if a.Status != test.want {
			t.Errorf("%s: %d, want %d", name, a.Status, test.want)
		}
		if reached := len(backend.Requests()) != before; reached != (test.want == 200) {
			t.Errorf("%s: reached the backend: %v", name, reached)
		}
	}
}

// TestRulesThatCantBeEnforcedClose: the routes answer 503 and the condition says why.
func TestRulesThatCantBeEnforcedClose(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	var manifests []string
	for name, rule := range map[string]string{
		"cel":      `{action: Allow, cel: "request.methud == 'GET'"}`,
		"geo":      `{action: Allow, principal: {clientIPGeoLocations: [{country: CH}]}}`,
		"provider": `{action: Allow, principal: {jwt: {provider: nobody, scopes: [read]}}}`,
		"pattern":  `{action: Allow, operation: {path: {type: RegularExpression, value: "("}}, principal: {clientCIDRs: ["0.0.0.0/0"]}}`,
	} {
		manifests = append(manifests, routeManifest(name, prefix("/"+name), "b"), policyManifest(name, "  authorization: {rules: ["+rule+"]}"))
	}
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), strings.Join(manifests, "\n---\n")))
	for _, path := range []string{"/cel", "/geo", "/provider", "/pattern"} {
		if a := gatewaytest.Get(t, at(port, path)); a.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d, want 503", path, a.Status)
		}
	}
}

// TestExpressionsDecide: by the request as it was routed, by the client's address as it was detected, and
// by what was verified.
func TestExpressionsDecide(t *testing.T) {
	t.Parallel()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), routeManifest("r", prefix("/"), "b"), backendManifest("b", backend.Port),
		policyManifest("r", jwtSpec(issuer, "")+`
  authorization:
    rules:
    - {action: Deny, cel: "request.url_path == '/admin' || request.headers['x-team'] == 'banned'"}
    - {action: Allow, cel: "identity.claims.realm.roles.exists(role, role in ['admin', 'root'])"}
    - action: Allow
      cel: "request.method == 'GET' && request.path.startsWith('/docs/') && source.address.startsWith('127.0.0.1:') && request.query == 'a=%2e%2e'"`)))
	bearer := func(claims map[string]any) string { return "Authorization: Bearer " + issuer.Token(t, claims) }
	admin, user := bearer(map[string]any{"realm": map[string]any{"roles": []string{"user", "admin"}}}), bearer(nil)
	for name, test := range map[string]struct {
		method, path string
		header       []string
		want         int
	}{
		"no token":                      {path: "/docs/a?a=%2e%2e", want: 401},
		"S39 no team at all":            {path: "/docs/a?a=%2e%2e", header: []string{user}, want: 403},
		"path, address and query":       {path: "/docs/a?a=%2e%2e", header: []string{user, "x-team: a"}, want: 200},
		"another query":                 {path: "/docs/a?a=..", header: []string{user, "x-team: a"}, want: 403},
		"another method":                {method: http.MethodPut, path: "/docs/a?a=%2e%2e", header: []string{user, "x-team: a"}, want: 403},
		"claim":                         {method: http.MethodPut, path: "/other", header: []string{admin, "x-team: a"}, want: 200},
		"denied path":                   {path: "/admin", header: []string{admin, "x-team: a"}, want: 403},
		"S3 dot segments":               {path: "/docs/../admin", header: []string{admin, "x-team: a"}, want: 403},
		"S3 letters written as escapes": {path: "/%61dmin", header: []string{admin, "x-team: a"}, want: 403},
		"S4 parameters":                 {path: "/admin;x", header: []string{admin, "x-team: a"}, want: 403},
		"S12 second value":              {path: "/other", header: []string{admin, "x-team: a", "x-team: banned"}, want: 403},
		"S12 second element":            {path: "/other", header: []string{admin, "x-team: a, banned"}, want: 403},
		"S16 another spelling":          {path: "/other", header: []string{admin, "x-team: a", "x_team: banned"}, want: 400},
	} {
		method := test.method
		if method == "" {
			method = http.MethodGet
		}
		before := len(backend.Requests())
		if a := gatewaytest.Send(t, method, at(port, test.path), test.header...); a.Status != test.want {
			t.Errorf("%s: %d, want %d", name, a.Status, test.want)
		}
		if reached := len(backend.Requests()) != before; reached != (test.want == 200) {
			t.Errorf("%s: reached the backend: %v", name, reached)
		}
	}
}
