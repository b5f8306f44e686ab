package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAuditFindsWhatAnybodyReaches: what the audit calls protected lets no stranger through, and every
// request that a backend has seen went a way that is on the list.
func TestAuditFindsWhatAnybodyReaches(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests, requests := guardedSite(t, port, backend.Port)
	g := gatewaytest.Start(t, manifests)
	stdout, _, code := command(t, "audit", "-f", g.Dir, "-o", "json")
	var paths []explain.Path
	if err := json.Unmarshal([]byte(stdout), &paths); err != nil || code != 1 { // a Secret and a Backend are missing
		t.Fatalf("exit %d, %v: %s", code, err, stdout)
	}
	listed, open := map[string]bool{}, []string{}
	for _, p := range paths {
		prefix := strings.TrimPrefix(p.Route.Match, "path prefix ")
		listed[prefix] = true
		stranger := gatewaytest.Get(t, at(port, prefix))
		if p.Protected() && stranger.Seen.Backend != "" {
			t.Errorf("%s is protected by %v, and a stranger gets through", prefix, p.Authentication)
		}
		if !p.Protected() {
			open = append(open, prefix)
		}
	}
	slices.Sort(open)
	if want := []string{"/counted", "/dry", "/opa", "/open", "/remote"}; !slices.Equal(open, want) {
		t.Errorf("without authentication: %v, want %v", open, want)
	}
	for i := range requests {
		r := &requests[i]
		if r.Method == http.MethodGet && gatewaytest.Send(t, r.Method, r.URL, r.Headers...).Seen.Backend != "" {
			path := "/" + strings.Split(strings.TrimPrefix(r.URL, at(port, "/")), "/")[0]
			if !listed[path] {
				t.Errorf("%s reaches the backend and isn't listed", r.URL)
			}
		}
	}
}

// TestAuditExitsByWhatIsOpen: 1 with --unprotected if there is a way without authentication, else 0.
func TestAuditExitsByWhatIsOpen(t *testing.T) {
	t.Parallel()
	site := func(policy string) string {
		return writeFile(t, strings.Join([]string{gatewayManifest(8080), backendManifest("b", 9), usersManifest, routeManifest("r", prefix("/x"), "b"), policy}, "\n---\n"))
	}
	closed, open := site(policyManifest("r", basicSpec)), site("")
	for name, test := range map[string]struct {
		args []string
		code int
		says string
	}{
		"closed":             {[]string{"-f", closed}, 0, "SecurityPolicy default/r  basicAuth"},
		"closed, only open":  {[]string{"-f", closed, "--unprotected"}, 0, ""},
		"open":               {[]string{"-f", open}, 0, "nothing (no authentication)"},
		"open, only open":    {[]string{"-f", open, "--unprotected"}, 1, "default/r rule 0"},
		"optional is open":   {[]string{"-f", site(policyManifest("r", "  jwt: {optional: true, providers: [{name: a, issuer: a, localJWKS: {type: Inline, inline: '{\"keys\":[]}'}}]}")), "--unprotected"}, 1, "jwt (optional)"},
		"unknown format":     {[]string{"-f", open, "-o", "xml"}, 2, "xml"},
		"nothing to look at": {nil, 2, "-f is missing"},
	} {
		stdout, stderr, code := command(t, append([]string{"audit"}, test.args...)...)
		if code != test.code || !strings.Contains(stdout+stderr, test.says) {
			t.Errorf("%s: exit %d, want %d and %q in:\n%s%s", name, code, test.code, test.says, stdout, stderr)
		}
	}
}
