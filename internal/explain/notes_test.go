package explain_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
)

// TestLoginsAndForgeriesArePlayed: a client without a session is sent to the provider, a page of another site is
// refused; what a session's cookies are worth isn't looked into, and that is said.
func TestLoginsAndForgeriesArePlayed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file, method string
		headers      []string
		outcome      string
		status       int
		note         string
		unplayed     int
	}{
		"login":               {"security-oidc", "GET", nil, explain.Answered, 302, "", 0},
		"another cookie":      {"security-oidc", "GET", []string{"cookie: a=b"}, explain.Answered, 302, "", 0},
		"a session's cookies": {"security-oidc", "GET", []string{"cookie: a=b; %s=x"}, explain.Denied, 503, "isn't verified here", 1},
		"own page":            {"security-csrf", "POST", []string{"origin: http://h:8080"}, explain.Forwarded, 0, "", 0},
		"no page":             {"security-csrf", "POST", nil, explain.Denied, 403, "refuses only 66.", 0},
		"a fragment":          {"security-csrf", "POST", []string{"referer: http://a.example/#x"}, explain.Denied, 403, "refuses only 66.", 0},
		"any page":            {"security-csrf", "POST", []string{"referer: http://a.example/x"}, explain.Forwarded, 0, "", 0},
		"reading":             {"security-csrf", "GET", nil, explain.Forwarded, 0, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile("../../translator/testdata/" + test.file + ".txtar")
			if err != nil {
				t.Fatal(err)
			}
			files := txtar.Parse(text).Files
			at := slices.IndexFunc(files, func(f txtar.File) bool { return f.Name == "in.yaml" })
			hmac := regexp.MustCompile(`oauth_hmac: (\S+)`).FindSubmatch(text)
			for i, h := range test.headers {
				if strings.Contains(h, "%s") {
					test.headers[i] = strings.ReplaceAll(h, "%s", string(hmac[1]))
				}
			}
			g := gateway(t, string(files[at].Data))
			answer, err := g.Explain(t.Context(), &explain.Request{Method: test.method, URL: "http://h:8080/good", Headers: test.headers})
			if err != nil {
				t.Fatal(err)
			}
			notes := strings.Join(answer.Notes, "\n")
			if answer.Verdict.Outcome != test.outcome || answer.Verdict.Status != test.status || !strings.Contains(notes, test.note) {
				t.Errorf("%+v, notes %q", answer.Verdict, notes)
			}
			if len(answer.Filters) != test.unplayed {
				t.Errorf("not played: %q", answer.Filters)
			}
			for _, way := range g.Audit() {
				if way.Route.Match == "path prefix /good" && way.Protected() != (test.file == "security-oidc") {
					t.Errorf("protected %t by %q", way.Protected(), way.Authentication)
				}
			}
		})
	}
}

// TestAFaultyRouteSaysWhatIsWrong with it, and nothing of its other rules.
func TestAFaultyRouteSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	g := gateway(t, onPort8080+`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - {matches: [{path: {value: /gone}}], backendRefs: [{name: gone, port: 80}]}
  - {matches: [{path: {value: /other}}], backendRefs: [{name: other, port: 80}]}
`)
	answer, err := g.Explain(t.Context(), &explain.Request{Method: "GET", URL: "http://h:8080/gone"})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(answer.Notes, "\n")
	if answer.Verdict.Status != 500 || !strings.Contains(notes, "Service default/gone doesn't exist") || strings.Contains(notes, "default/other") {
		t.Errorf("%+v %q", answer.Verdict, answer.Notes)
	}
}

// TestAnAuditTellsWhoFailsOpen: such a server still asks who is calling.
func TestAnAuditTellsWhoFailsOpen(t *testing.T) {
	t.Parallel()
	g := gateway(t, onPort8080+`
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: 9}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]
  extAuth: {failOpen: true, grpc: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}}
`)
	ways := g.Audit()
	if len(ways) != 1 || !slices.Equal(ways[0].Authentication, []string{"ext_authz securitypolicy/default/p/extauth, failOpen"}) {
		t.Errorf("%+v", ways)
	}
}
