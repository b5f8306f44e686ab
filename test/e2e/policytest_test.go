package e2e

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/internal/policytest"
)

// casesFile writes cases as JSON, which YAML includes.
func casesFile(t *testing.T, cases []policytest.Case) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"cases": cases})
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, string(text))
}

// TestCasesOfTheQuickstartPass in process and through Envoy.
func TestCasesOfTheQuickstartPass(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := command(t, "test", "-f", "../../examples/quickstart", "--envoy="+envoytest.Binary(t), "../../examples/cases/quickstart.yaml")
	if code != 0 || strings.Contains(stdout, "FAIL") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{"no case reaches SecurityPolicy demo/rego", "no case reaches HTTPRoute demo/tenants rule 0", " passed, 0 failed"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

// TestTheEngineAndEnvoyComeToTheSameResults on every request to the guarded site, also from elsewhere.
func TestTheEngineAndEnvoyComeToTheSameResults(t *testing.T) {
	t.Parallel()
	manifests, requests := guardedSite(t, 8080, 9)
	var cases []policytest.Case
	for i := range requests {
		r := &requests[i]
		c := policytest.Case{Name: fmt.Sprint(i, " ", r.Method, " ", r.URL, " ", len(r.Headers)), Request: policytest.Request{Method: r.Method, URL: r.URL, Headers: map[string]policytest.Texts{}}}
		for _, h := range r.Headers {
			name, value, _ := strings.Cut(h, ": ")
			c.Request.Headers[name] = policytest.Texts{value}
		}
		second := c
		second.Name, second.Request.HTTP2 = "by HTTP/2: "+c.Name, true
		cases = append(cases, c, second)
	}
	from := func(address, verdict string) policytest.Case {
		return policytest.Case{Name: "from " + address, Request: policytest.Request{URL: at(8080, "/remote"), From: address}, Expect: policytest.Expect{Verdict: verdict}}
	}
	cases = append(cases, from("192.0.2.7", policytest.Allow), from("2001:db8::7", policytest.Deny), from("198.51.100.1", policytest.Deny))
	file := writeFile(t, manifests["all.yaml"])
	stdout, stderr, code := command(t, "test", "-f", file, "--envoy="+envoytest.Binary(t), casesFile(t, cases))
	if code != 0 || !strings.Contains(stdout, fmt.Sprintf("%d passed, 0 failed", len(cases))) {
		for line := range strings.Lines(stdout) {
			if !strings.HasPrefix(line, "ok") {
				t.Log(line)
			}
		}
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// TestCasesOfGRPCServices have a protocol, a body and a status of their own, by each runner alike.
func TestCasesOfGRPCServices(t *testing.T) {
	t.Parallel()
	certificate := gatewaytest.NewCertificate(t, "shop.example")
	file := writeFile(t, strings.Join([]string{
		strings.Replace(gatewayManifest(8080), "listeners: [", "listeners: [{name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}, ", 1),
		certificate.Secret("cert"), backendManifest("b", 9), usersManifest, routeManifest("r", prefix("/shop.Orders"), "b"),
		policyManifest("r", `  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}
  opa:
    body: {maxBytes: 100000}
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        default allow := false
        allow if {
          input.attributes.request.http.protocol == "HTTP/2"
          count(input.attributes.request.http.body) > 70000
        }`),
	}, "\n---\n"))
	message := strings.Repeat("x", 80000) // longer than what HTTP/2 sends unasked
	call := func(name, url, body string, headers map[string]policytest.Texts, expect policytest.Expect) policytest.Case {
		return policytest.Case{Name: name, Request: policytest.Request{Method: "POST", URL: url, Headers: headers, Body: body, HTTP2: true}, Expect: expect}
	}
	const alice = "http://alice:password@shop.example:8080/shop.Orders/Get"
	stranger := strings.Replace(alice, "alice:password@", "", 1)
	kind := map[string]policytest.Texts{"content-type": {"application/grpc"}, "te": {"trailers"}}
	user, status := "alice", func(code int) *int { return &code }
	first := call("by HTTP/1.1", alice, message, kind, policytest.Expect{Verdict: policytest.Deny, GRPCStatus: status(7)})
	first.Request.HTTP2 = false
	all := []policytest.Case{
		first,
		call("a stranger", stranger, message, kind, policytest.Expect{Verdict: policytest.Deny, Status: 200, GRPCStatus: status(16), Reason: "credentials_missing", Route: "default/r"}),
		call("alice", alice, message, kind, policytest.Expect{Verdict: policytest.Allow, RequestHeaders: map[string]*string{"x-user": &user}}),
		call("alice over TLS", "https://alice:password@shop.example:8443/shop.Orders/Get", message, kind, policytest.Expect{Verdict: policytest.Allow, RequestHeaders: map[string]*string{"x-user": &user}}),
		call("a short message", alice, "x", kind, policytest.Expect{Verdict: policytest.Deny, GRPCStatus: status(7)}),
		call("too long a message", alice, message+message, kind, policytest.Expect{Verdict: policytest.Deny, Status: 200, GRPCStatus: status(2)}),
		call("a service that isn't there", strings.Replace(alice, "Orders", "Other", 1), message, kind, policytest.Expect{Verdict: policytest.Answer, Status: 200, GRPCStatus: status(12)}),
		call("a header that HTTP/2 hasn't", alice, message, map[string]policytest.Texts{"connection": {"close"}}, policytest.Expect{Verdict: policytest.Answer}),
		call("no gRPC", stranger, message, nil, policytest.Expect{Verdict: policytest.Deny, Status: 401}),
		call("a long header", stranger, "", map[string]policytest.Texts{"x-long": {message[:20000]}, "content-type": {"application/grpc"}}, policytest.Expect{Verdict: policytest.Deny, GRPCStatus: status(16)}),
	}
	cases := casesFile(t, all)
	for _, runner := range []string{"--transport=", "--transport=extauthz", "--transport=extproc", "--envoy=" + envoytest.Binary(t)} {
		stdout, stderr, code := command(t, "test", "-f", file, runner, cases)
		if code != 0 || !strings.Contains(stdout, fmt.Sprintf("%d passed, 0 failed", len(all))) {
			t.Errorf("%s: exit %d\n%s%s", runner, code, stdout, stderr)
		}
	}
	wrong := writeFile(t, `cases: [{request: {method: POST, url: "http://shop.example:8080/shop.Orders/Get", headers: {content-type: application/grpc}}, expect: {grpcStatus: 7}}]`)
	if stdout, _, code := command(t, "test", "-f", file, wrong); code != 1 || !strings.Contains(stdout, `grpcStatus is "16", expected "7"`) {
		t.Errorf("another status: exit %d\n%s", code, stdout)
	}
}

// TestAFailedCaseSaysWhy on standard output and in the report.
func TestAFailedCaseSaysWhy(t *testing.T) {
	t.Parallel()
	file := writeFile(t, strings.Join([]string{gatewayManifest(8080), backendManifest("b", 9), usersManifest, routeManifest("r", prefix("/x"), "b"), policyManifest("r", basicSpec)}, "\n---\n"))
	cases := writeFile(t, `
cases:
- name: wrong in everything
  request: {url: "http://h:8080/x"}
  expect:
    verdict: allow
    status: 200
    reason: allowed
    route: other/r
    requestHeaders: {x-user: alice}
    responseHeaders: {www-authenticate: null, x-none: here}
- {request: {url: "http://alice:password@h:8080/x"}, expect: {verdict: allow, status: 404}}
`)
	report := filepath.Join(t.TempDir(), "report.xml")
	stdout, _, code := command(t, "test", "-f", file, "--junit", report, cases)
	if code != 1 {
		t.Errorf("exit %d", code)
	}
	for _, want := range []string{
		"FAIL  wrong in everything", `verdict is "deny", expected "allow"`, "status is 401, expected 200", `reason is "credentials_missing", expected "allowed"`,
		`route is "default/r"`, "the backend gets nothing", "www-authenticate is there", "x-none is missing", "1 passed, 1 failed",
		"ok    GET http://h:8080/x\n", // the name of a case without one: the URL without its password
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	text, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Cases    []struct {
			Name    string `xml:"name,attr"`
			Failure string `xml:"failure"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil || suites.Tests != 2 || suites.Failures != 1 || !strings.Contains(suites.Cases[0].Failure, "status is 401") {
		t.Errorf("%v %+v in\n%s", err, suites, text)
	}
}

func TestCasesThatCantBeRead(t *testing.T) {
	t.Parallel()
	file := writeFile(t, gatewayManifest(8080))
	for name, test := range map[string]struct{ text, says string }{
		"unknown field":   {"cases: [{request: {url: 'http://h/'}, expects: {}}]", "expects"},
		"unknown verdict": {"cases: [{request: {url: 'http://h/'}, expect: {verdict: maybe}}]", "maybe"},
		"no URL":          {"cases: [{name: n}]", "url is missing"},
		"none":            {"cases: []", "no cases"},
	} {
		if _, stderr, code := command(t, "test", "-f", file, writeFile(t, test.text)); code != 2 || !strings.Contains(stderr, test.says) {
			t.Errorf("%s: exit %d: %s", name, code, stderr)
		}
	}
	if _, stderr, code := command(t, "test", "-f", file, "--transport", "pigeon", "../../examples/cases/quickstart.yaml"); code != 2 || !strings.Contains(stderr, "pigeon") {
		t.Errorf("unknown transport: exit %d: %s", code, stderr)
	}
	if _, stderr, code := command(t, "test", "-f", file); code != 2 {
		t.Errorf("without cases: exit %d: %s", code, stderr)
	}
}
