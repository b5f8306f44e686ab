package policytest_test

import (
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/policytest"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
)

const site = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: gatehouse, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: 9}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: users}
stringData: {.htpasswd: "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - {name: basic, matches: [{path: {value: /basic}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}
  - {name: rules, matches: [{path: {value: /rules}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}
  - {name: second, matches: [{path: {value: /second}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}
  - {name: body, matches: [{path: {value: /body}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: basic}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r, sectionName: basic}]
  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}
  cors: {allowOrigins: ["https://app.example"], allowMethods: [PUT]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: rules}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r, sectionName: rules}]
  authorization: {defaultAction: Deny, rules: [{action: Allow, principal: {clientCIDRs: [192.0.2.0/24]}}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: second}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r, sectionName: second}]
  authorization: {defaultAction: Deny, rules: [{action: Allow, cel: "request.protocol == 'HTTP/2'"}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: body}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r, sectionName: body}]
  opa:
    body: {maxBytes: 20}
    decision: envoy/authz/decide
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        decide := {"allowed": input.parsed_body.good == true, "headers": {"x-rego": "yes"}, "response_headers_to_add": {"x-decided": "yes"}}
`

// TestEveryTransportHasTheSameResults, reasons and headers included.
func TestEveryTransportHasTheSameResults(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(file, []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	const alice, json = "authorization: Basic YWxpY2U6cGFzc3dvcmQ=", "content-type: application/json"
	requests := []explain.Request{
		{Method: "GET", URL: "http://h:8080/basic"}, {Method: "GET", URL: "http://h:8080/basic", Headers: []string{alice, "x-user: root", "x_other: 1"}},
		{Method: "GET", URL: "http://h:8080/basic", Headers: []string{alice, "x-user: root"}},
		{Method: "GET", URL: "http://h:8080/basic", Headers: []string{alice, alice}}, {Method: "GET", URL: "http://h:8080/basic", Headers: []string{"origin: https://app.example"}},
		{Method: "OPTIONS", URL: "http://h:8080/basic", Headers: []string{"origin: https://app.example", "access-control-request-method: PUT"}},
		{Method: "OPTIONS", URL: "http://h:8080/basic", Headers: []string{"origin: https://evil.example", "access-control-request-method: PUT"}},
		{Method: "GET", URL: "http://h:8080/rules"}, {Method: "GET", URL: "http://h:8080/rules", From: "192.0.2.9"},
		{Method: "GET", URL: "http://h:8080/rules", Headers: []string{"x-gatehouse-client-ip: 192.0.2.9"}},
		{Method: "POST", URL: "http://h:8080/body", Headers: []string{json}, Body: []byte(`{"good": true}`)},
		{Method: "POST", URL: "http://h:8080/body", Headers: []string{json}, Body: []byte(`{"good": false}`)},
		{Method: "POST", URL: "http://h:8080/body", Headers: []string{json}, Body: []byte(`{"good": true, "long": true}`)},
		{Method: "GET", URL: "http://h:8080/second"}, {Method: "GET", URL: "http://h:8080/second", HTTP2: true},
		{Method: "POST", URL: "http://h:8080/body", Headers: []string{json}, Body: []byte(`{"good": true}`), HTTP2: true},
		{Method: "POST", URL: "http://h:8080/basic", Headers: []string{"content-type: application/grpc", "te: trailers"}, HTTP2: true},
		{Method: "GET", URL: "http://h:8080/basic", Headers: []string{"te: gzip"}, HTTP2: true},
		{Method: "GET", URL: "http://h:8080/body"}, {Method: "GET", URL: "http://h:8080/body", Headers: []string{"content-type: application/grpc"}},
	}
	run := func(transport string) []*policytest.Result {
		s, err := standalone.OpenSite([]string{file}, false)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		over, stop, err := policytest.Over(transport)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		s.Gateway.Over(over)
		engine, all := policytest.NewEngine(s.Gateway), []*policytest.Result{}
		for i := range requests {
			result, err := engine.Run(t.Context(), &requests[i])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, result)
		}
		return all
	}
	called, statuses := run(""), map[int]bool{}
	for _, transport := range []string{policytest.ExtAuthz, policytest.ExtProc} {
		for i, got := range run(transport) {
			statuses[got.Status] = true
			if want := called[i]; !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s %s %v\n%+v, called\n%+v", transport, requests[i].Method, requests[i].URL, requests[i].Headers, got, want)
			}
		}
	}
	for _, status := range []int{0, http.StatusOK, http.StatusNoContent, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusRequestEntityTooLarge} {
		if !statuses[status] {
			t.Errorf("no request was answered %d: %v", status, statuses)
		}
	}
	if _, _, err := policytest.Over("carrier pigeon"); err == nil {
		t.Error("an unknown transport is accepted")
	}
}
