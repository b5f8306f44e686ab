package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestRegoReadsBodies: up to the limit, and never a part of one for the whole, by both protocols.
func TestRegoReadsBodies(t *testing.T) {
	t.Parallel()
	const spec = `
  opa:
    body: {maxBytes: 200000}
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        default allow := false
        allow if not input.parsed_body.bad
`
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port),
		routeManifest("authz", prefix("/authz"), "b"), policyManifest("authz", spec),
		routeManifest("proc", prefix("/proc"), "b"), policyManifest("proc", spec+"  enforcement: ExtProc")))
	const json = "Content-Type: application/json"
	filler := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"good":                      {`{"a": 1}`, 200},
		"bad":                       {`{"bad": true}`, 403},
		"large and good":            {`{"a": ` + filler(150_000) + `}`, 200},
		"large and bad":             {`{"a": ` + filler(150_000) + `, "bad": true}`, 403},
		"bad beyond the limit":      {`{"a": ` + filler(200_000) + `, "bad": true}`, 413},
		"far beyond the limit":      {`{"a": ` + filler(3_000_000) + `}`, 413},
		"bad behind malformed JSON": {`{"a": 1}, {"bad": true}`, 403},
	} {
		for _, path := range []string{"/authz", "/proc"} {
			a := gatewaytest.Post(t, at(port, path), test.body, json)
			if a.Status != test.want {
				t.Errorf("%s%s: %d, want %d", name, path, a.Status, test.want)
			}
			if a.Status == http.StatusOK && a.Seen.Body != test.body {
				t.Errorf("%s%s: the backend got %d bytes, want %d", name, path, len(a.Seen.Body), len(test.body))
			}
		}
	}
}

// TestRegoOnRequestsWithoutBody: over HTTP/2, where no header tells that there is none.
func TestRegoOnRequestsWithoutBody(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b"), policyManifest("r", `
  opa:
    body: {maxBytes: 100}
    modules: [{type: Inline, inline: "package envoy.authz\nimport rego.v1\ndefault allow := false\nallow if not input.parsed_body.bad"}]
`)))
	client := &http.Client{Transport: gatewaytest.HTTP2()}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		request, err := http.NewRequestWithContext(t.Context(), method, at(port, "/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.ProtoMajor != 2 || response.StatusCode != http.StatusOK {
			t.Errorf("%s by %s: %d, want 200", method, response.Proto, response.StatusCode)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at(port, "/"), strings.NewReader(`{"bad": true}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.ContentLength = -1
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("a GET with a bad body: %d, want 403", response.StatusCode)
	}
}

// TestRegoDecisions: an object decides status, body and headers in both directions.
func TestRegoDecisions(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b"), policyManifest("r", `
  opa:
    decision: envoy/authz/result
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        default result := {"allowed": false, "http_status": 451, "body": "not here", "headers": {"x-why": "law"}}
        result := {"allowed": true, "headers": {"x-tenant": "t1"}, "request_headers_to_remove": ["x-secret"], "response_headers_to_add": {"x-checked": "yes"}} if {
          input.parsed_query.ok[0] == "1"
        }
`)))
	a := gatewaytest.Get(t, at(port, "/x?ok=1"), "x-tenant: forged", "x-secret: s")
	if a.Status != 200 || a.Seen.Header.Get("x-tenant") != "t1" || a.Seen.Header.Get("x-secret") != "" || a.Header.Get("x-checked") != "yes" {
		t.Errorf("allowed: %d, x-tenant %q, x-secret %q, x-checked %q", a.Status, a.Seen.Header.Get("x-tenant"), a.Seen.Header.Get("x-secret"), a.Header.Get("x-checked"))
	}
	a = gatewaytest.Get(t, at(port, "/x"))
	if a.Status != 451 || a.Body != "not here" || a.Header.Get("x-why") != "law" {
		t.Errorf("denied: %d %q, x-why %q", a.Status, a.Body, a.Header.Get("x-why"))
	}
}
