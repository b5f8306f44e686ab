package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// filteredRules are rules with what the Gateway API offers beside a backend.
var filteredRules = map[string]string{
	"plain":    "",
	"mirror":   "filters: [{type: RequestMirror, requestMirror: {backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: copy}}}]\n",
	"prefix":   "filters: [{type: URLRewrite, urlRewrite: {hostname: other.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]\n",
	"full":     "filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /full-ok}}}]\n",
	"redirect": "filters: [{type: RequestRedirect, requestRedirect: {hostname: other.example, statusCode: 301}}]\n",
	"gives":    "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: Authorization, value: Basic YWxpY2U6cGFzc3dvcmQ=}, {name: x-api-key, value: key-of-ci}]}}]\n",
	"takes":    "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [authorization, x-api-key]}}]\n",
	"retry":    "retry: {codes: [503], attempts: 2, backoff: 1ms}\n",
}

// TestAttackThroughTheRoutesFilters: what a route does to requests beside forwarding them is done to those that its
// policy lets pass, as the policy has left them: no copy, no rewritten path, no second try has more, and nothing that
// the route adds counts as the client's.
func TestAttackThroughTheRoutesFilters(t *testing.T) {
	t.Parallel()
	backend, mirrored := gatewaytest.NewBackend(t, "b"), gatewaytest.NewBackend(t, "copy")
	ports := map[string]int{"peer": freePort(t), "forwarded": freePort(t), "header": freePort(t)}
	manifests := []string{
		usersManifest, keysManifest, backendManifest("b", backend.Port), backendManifest("copy", mirrored.Port),
		trustingGateway("peer", ports["peer"], "{directSourceIP: {}}"), trustingGateway("forwarded", ports["forwarded"], "{xForwardedFor: {numTrustedHops: 1}}"),
		trustingGateway("header", ports["header"], "{customHeader: {name: x-real-address}}"),
	}
	policies := map[string]string{
		"password": "  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}", "key": strings.Replace(keySpec, "x-client", "x-user", 1),
	}
	const paths = "\n  authorization: {defaultAction: Deny, rules: [{action: Allow, operation: {path: {type: Suffix, value: -ok}}}]}"
	for method, spec := range policies {
		for suffix, enforcement := range map[string]string{"": "", "streamed": byExtProc} {
			for name, rule := range filteredRules {
				if name != "redirect" {
					rule += to("b")
				}
				name = method + suffix + name
				object := strings.Replace(route(name, "", "matches: ["+prefix("/"+name)+"]\n"+rule), "[{name: gw}]", "[{name: peer}, {name: forwarded}, {name: header}]", 1)
				manifests = append(manifests, object, policyManifest(name, spec+paths+enforcement))
			}
		}
	}
	gatewaytest.Start(t, all(manifests...))

	credentials := map[string]string{"password": basicAlice + "\r\n", "key": "x-api-key: key-of-ci\r\nCookie: a=b; key=key-of-ci\r\n"}
	for gateway, port := range ports {
		for method := range policies {
			for _, suffix := range []string{"", "streamed"} {
				for name := range filteredRules {
					r := filteredRoute{t: t, backend: backend, port: port, gateway: gateway, path: "/" + method + suffix + name, credentials: credentials[method]}
					r.denies()
					r.forwards(name)
				}
			}
		}
	}
	const copies = 3 * 2 * 2
	gatewaytest.Eventually(t, "copies", func() error {
		if n := len(mirrored.Requests()); n != copies {
			return fmt.Errorf("%d copies, want %d", n, copies)
		}
		return nil
	})
	for _, seen := range append(backend.Requests(), mirrored.Requests()...) {
		if fault := tainted(seen); fault != "" {
			t.Errorf("%s got %s: %s", seen.Backend, seen.Path, fault)
		}
	}
}

// filteredRoute is a route that such a rule is of, below one of the Gateways.
type filteredRoute struct {
	t                          *testing.T
	backend                    *gatewaytest.Backend
	port                       int
	gateway, path, credentials string
}

// say sends a request that claims to be much.
func (r *filteredRoute) say(rest, credentials string) int {
	r.t.Helper()
	const forged = "x-user: root\r\nx-gatehouse-client-ip: 10.0.0.1\r\nx-gatehouse-recompute: 1\r\nx-envoy-original-path: /forged\r\nx-envoy-original-host: forged\r\n" +
		"x-envoy-external-address: 10.9.9.9\r\nx-envoy-decorator-operation: forged\r\nx-envoy-downstream-service-cluster: forged\r\nx-envoy-retry-on: 5xx\r\nx-envoy-max-retries: 9\r\nx-want-status: 503\r\n"
	status, _ := exchangeRaw(r.t, r.port, fmt.Sprintf("GET %s%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s%s\r\n", r.path, rest, forged, credentials))
	return status
}

func (r *filteredRoute) denies() {
	r.t.Helper()
	before := len(r.backend.Requests())
	for _, rest := range []string{"", "/-ok", "/-ok?key=&key=x", "/-ok;x"} {
		if status := r.say(rest, ""); status != http.StatusUnauthorized {
			r.t.Errorf("%s, %s%s without credentials: %d", r.gateway, r.path, rest, status)
		}
	}
	for _, rest := range []string{"", "/-ok/..", "/-ok/x", "/-ok/%2e%2e/x", "/x?-ok", "/x;-ok"} {
		if status := r.say(rest, r.credentials); status != http.StatusForbidden {
			r.t.Errorf("%s, %s%s: %d, want 403", r.gateway, r.path, rest, status)
		}
	}
	if n := len(r.backend.Requests()) - before; n != 0 {
		r.t.Errorf("%s, %s: %d requests reached the backend", r.gateway, r.path, n)
	}
}

func (r *filteredRoute) forwards(rule string) {
	r.t.Helper()
	before, wanted, tries := len(r.backend.Requests()), http.StatusServiceUnavailable, 1 // as the backend is asked to
	switch rule {
	case "redirect":
		wanted, tries = http.StatusMovedPermanently, 0
	case "retry":
		tries = 3
	}
	query := "" // a password's request has no key
	if strings.HasPrefix(r.path, "/key") {
		query = "?a=b&key=key-of-ci"
	}
	if status := r.say("/-ok"+query, r.credentials); status != wanted {
		r.t.Errorf("%s, %s: %d, want %d", r.gateway, r.path, status, wanted)
	}
	if n := len(r.backend.Requests()) - before; n != tries {
		r.t.Errorf("%s, %s: %d requests at the backend, want %d", r.gateway, r.path, n, tries)
	}
}

// tainted says what in a request at a backend is a client's word, or one of its keys.
func tainted(seen gatewaytest.Seen) string {
	for name, values := range seen.Header {
		text := strings.Join(values, "|")
		switch lower := strings.ToLower(name); {
		case strings.HasPrefix(lower, "x-gatehouse-"):
			return name
		case lower == "x-user" && text != "alice" && text != "ci":
			return name + ": " + text
		case strings.HasPrefix(lower, "x-envoy-") && strings.Contains(text, "forged"), strings.Contains(text, "10.9.9.9"):
			return name + ": " + text
		case strings.Contains(text, "key-of-ci") && !strings.Contains(seen.Path, "gives"):
			return name + ": " + text
		}
	}
	if strings.Contains(seen.Path, "key-of") {
		return "a key in the path"
	}
	if !strings.HasSuffix(strings.Split(seen.Path, "?")[0], "-ok") {
		return "a path that no rule allows"
	}
	return ""
}
