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
		cases = append(cases, c)
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
