package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestDecisionsAreLogged: on standard output and in a file, without a credential.
func TestDecisionsAreLogged(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	opa := func(log string) string {
		return `
  opa:
    decisionLog: ` + log + `
    modules: [{type: Inline, inline: "package envoy.authz\nimport rego.v1\ndefault allow := false\nallow if { input.attributes.request.http.headers[\"x-team\"] == \"a\"; object.get(input.attributes.request.http.headers, \"authorization\", \"\") != \"x\" }"}]
`
	}
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port),
		routeManifest("filed", prefix("/filed"), "b"), routeManifest("printed", prefix("/printed"), "b"),
		policyManifest("filed", opa("{sink: File, mask: [/input/attributes/request/http/headers/x-pin]}")), policyManifest("printed", opa("{}"))))
	for _, path := range []string{"/filed", "/printed"} {
		if a := gatewaytest.Get(t, at(port, path), "x-team: a", "x-pin: 4711", basicAlice); a.Status != 200 {
			t.Errorf("%s: %d", path, a.Status)
		}
		if a := gatewaytest.Get(t, at(port, path), "x-team: b"); a.Status != 403 {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
	file := filepath.Join(g.State, "decisions", "default.filed.jsonl")
	gatewaytest.Eventually(t, "two decisions in the file", func() error {
		text, err := os.ReadFile(file)
		if strings.Count(string(text), "\n") != 2 {
			return errors.Join(err, fmt.Errorf("%q", text))
		}
		if strings.Contains(string(text), "YWxpY2U") || strings.Contains(string(text), "4711") || !strings.Contains(string(text), `"x-team":"a"`) {
			t.Errorf("%s", text)
		}
		return nil
	})
	gatewaytest.Eventually(t, "two decisions printed", func() error {
		printed := 0
		for lines := bufio.NewScanner(strings.NewReader(g.Output())); lines.Scan(); {
			var event struct{ Policy string }
			if json.Unmarshal(lines.Bytes(), &event) == nil && event.Policy == "default/printed" {
				printed++
			}
		}
		if printed != 2 {
			return fmt.Errorf("%d printed", printed)
		}
		return nil
	})
	gatewaytest.Eventually(t, "the metric", func() error {
		return has(t, g.Metrics+"/metrics", "gatehouse_decision_log_events_total 4", "gatehouse_decision_log_dropped_total 0")
	})
}

// has looks for texts on a page.
func has(t *testing.T, url string, texts ...string) error {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	page, err := io.ReadAll(response.Body)
	for _, text := range texts {
		if !strings.Contains(string(page), text) {
			return errors.Join(err, fmt.Errorf("%q isn't on the page:\n%s", text, page))
		}
	}
	return err
}

// TestWhatIsFetchedIsShown: a key set's last success, age, keys and failures, in metrics and by the API.
func TestWhatIsFetchedIsShown(t *testing.T) {
	t.Parallel()
	backend, port, idp := gatewaytest.NewBackend(t, "b"), freePort(t), gatewaytest.NewIssuer(t, "https://idp.example")
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, idp.JWKS()) }))
	t.Cleanup(good.Close)
	bad := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(bad.Close)
	spec := func(uri string) string {
		return "  jwt: {providers: [{name: idp, remoteJWKS: {uri: '" + uri + "?token=hunter2', allowPrivateAddresses: true}}]}"
	}
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port),
		routeManifest("good", prefix("/good"), "b"), routeManifest("bad", prefix("/bad"), "b"), policyManifest("good", spec(good.URL)), policyManifest("bad", spec(bad.URL))))
	gatewaytest.Eventually(t, "metrics", func() error {
		return has(t, g.Metrics+"/metrics",
			fmt.Sprintf(`gatehouse_jwks_keys{uri="%s"} 1`, good.URL), fmt.Sprintf(`gatehouse_jwks_keys{uri="%s"} 0`, bad.URL),
			fmt.Sprintf(`gatehouse_jwks_last_success_timestamp_seconds{uri="%s"} 0`, bad.URL), fmt.Sprintf(`gatehouse_jwks_age_seconds{uri="%s"}`, good.URL),
			fmt.Sprintf(`gatehouse_jwks_fetch_failures_total{uri="%s"} 0`, good.URL))
	})
	gatewaytest.Eventually(t, "the API", func() error {
		return has(t, g.Admin+"/api/sources", `"url":"`+good.URL+`"`, `"keys":1`, `"ageSeconds":`, "answered 404")
	})
	awaitStatus(t, g, "SecurityPolicy", "bad", "JWKSUnavailable", "make it reachable")
	for _, url := range []string{g.Metrics + "/metrics", g.Admin + "/api/sources"} {
		if has(t, url, "hunter2") == nil {
			t.Errorf("%s shows the query", url)
		}
	}
}
