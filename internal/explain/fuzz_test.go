package explain_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
)

// FuzzRequest: whatever a person writes is refused as no request, or ends somewhere; and no header's value
// is in what is printed.
func FuzzRequest(f *testing.F) {
	for _, url := range []string{"http://h:8080/open", "http://u:p@h:8080/basic?x#y", "https://[::1]/", "http://h:8080//a/%2e%2e/b", "http://", "h", "http://h:99999/", "http://h?x"} {
		f.Add("GET", url, "x-a: b", "192.0.2.1")
	}
	f.Add("OPTIONS", "http://h:8080/basic", "origin: https://app.example", "::1")
	g := gateway(f, onPort8080+`
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
  rules: [{matches: [{path: {value: /basic}}]}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]
  basicAuth: {users: {name: users}}
  cors: {allowOrigins: ["https://app.example"]}
`)
	const secret = "hunter2-never-shown"
	f.Fuzz(func(t *testing.T, method, url, line, from string) {
		answer, err := g.Explain(t.Context(), &explain.Request{Method: method, URL: url, From: from, Headers: []string{line, "authorization: " + secret}})
		if err != nil {
			if !errors.Is(err, explain.ErrRequest) || strings.Contains(err.Error(), secret) {
				t.Errorf("%q %q: %v", method, url, err)
			}
			return
		}
		var text strings.Builder
		if err := answer.Text(&text); err != nil || answer.Verdict.Outcome == "" || strings.Contains(text.String(), secret) {
			t.Errorf("%q %q: %v %s", method, url, err, &text)
		}
	})
}
