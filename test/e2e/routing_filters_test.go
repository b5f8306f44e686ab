package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// filtered is a rule at a path of its own; filters are a YAML list, backend may be "".
func filtered(path, filters, backend string) string {
	rule := "matches: [{path: {value: " + path + "}}]\nfilters:\n" + strings.TrimSpace(filters)
	if backend != "" {
		rule += "\n" + to(backend)
	}
	return rule
}

func mirrorTo(backend, share string) string {
	return "- {type: RequestMirror, requestMirror: {backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: " + backend + "}" + share + "}}\n"
}

func TestMirrors(t *testing.T) {
	t.Parallel()
	main, port := gatewaytest.NewBackend(t, "main"), freePort(t)
	copies := map[string]*gatewaytest.Backend{}
	manifests := []string{gatewayManifest(port), backendManifest("main", main.Port)}
	for _, name := range []string{"all", "both-1", "both-2", "none", "half"} {
		copies[name] = gatewaytest.NewBackend(t, name)
		manifests = append(manifests, backendManifest(name, copies[name].Port))
	}
	gatewaytest.Start(t, all(append(manifests,
		route("all", "", filtered("/all", mirrorTo("all", ""), "main")),
		route("both", "", filtered("/both", mirrorTo("both-1", "")+mirrorTo("both-2", ", percent: 100"), "main")),
		route("none", "", filtered("/none", mirrorTo("none", ", percent: 0"), "main")),
		route("half", "", filtered("/half", mirrorTo("half", ", fraction: {numerator: 1, denominator: 2}"), "main")),
		route("faulty", "", filtered("/faulty", mirrorTo("missing", ""), "main")),
	)...))
	gatewaytest.Get(t, at(port, "/all/x?y=1"), "Host: a.example", "x-kind: a")
	gatewaytest.Get(t, at(port, "/both"))
	for range 200 {
		gatewaytest.Get(t, at(port, "/half"))
		gatewaytest.Get(t, at(port, "/none"))
	}
	if a := gatewaytest.Get(t, at(port, "/faulty")); a.Status != http.StatusOK || a.Seen.Backend != "main" {
		t.Errorf("a mirror that leads nowhere: %d from %q, want the main backend's answer", a.Status, a.Seen.Backend)
	}
	gatewaytest.Eventually(t, "copies", func() error {
		for name, b := range copies {
			got := len(b.Requests())
			switch {
			case name == "half" && got >= 60 && got <= 140, name == "none" && got == 0:
			case name != "half" && name != "none" && got == 1:
			default:
				return fmt.Errorf("%s has %d copies", name, got)
			}
		}
		return nil
	})
	seen := copies["all"].Requests()[0]
	if seen.Path != "/all/x?y=1" || seen.Host != "a.example" || seen.Header.Get("x-kind") != "a" {
		t.Errorf("the copy is %s%s %q, want the request itself", seen.Host, seen.Path, seen.Header)
	}
	if leaked := seen.Header.Get("x-gatehouse-client-ip"); leaked != "" {
		t.Errorf("the copy has x-gatehouse-client-ip %q", leaked)
	}
}

func TestRouteCORS(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	filter := func(spec string) string { return "- {type: CORS, cors: " + spec + "}" }
	narrow := filter(`{allowOrigins: ["https://a.example", "https://*.b.example"], allowMethods: [GET, PUT], allowHeaders: [x-a], exposeHeaders: [x-e], allowCredentials: true, maxAge: 60}`)
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port),
		route("narrow", "", filtered("/narrow", narrow, "b")),
		route("any", "", filtered("/any", filter(`{allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], allowCredentials: true}`), "b")),
		route("method", "", "matches: [{path: {value: /method}, method: PUT}]\nfilters:\n"+narrow+"\n"+to("b")),
		route("bad", "", filtered("/bad", filter(`{allowOrigins: ["~.*"]}`), "b")),
		route("guarded", "", filtered("/guarded", narrow, "b")), usersManifest, policyManifest("guarded", basicSpec),
		route("moved", "", filtered("/moved", narrow+"\n- {type: RequestRedirect, requestRedirect: {hostname: new.example}}", "")),
		route("gone", "", filtered("/gone", narrow, "missing")),
		route("guarded-moved", "", filtered("/guarded-moved", "- {type: RequestRedirect, requestRedirect: {hostname: new.example}}", "")),
		policyManifest("guarded-moved", basicSpec+"\n  cors: {allowOrigins: [\"https://a.example\"]}"),
		route("both", "", filtered("/both", narrow, "b")), policyManifest("both", "  cors: {allowOrigins: [\"https://policy.example\"], allowMethods: [GET], allowHeaders: [x-a]}"),
	))
	preflight := func(path, origin, method string) gatewaytest.Answer {
		return gatewaytest.Send(t, http.MethodOptions, at(port, path), "Origin: "+origin,
			"Access-Control-Request-Method: "+method, "Access-Control-Request-Headers: x-a")
	}
	before := len(backend.Requests())
	for _, test := range []struct {
		path, origin, method string
		status               int
		allowed              string // origin|methods|headers|credentials|max age
	}{
		{"/narrow", "https://a.example", "PUT", 200, "https://a.example|GET,PUT|x-a|true|60"},
		{"/narrow", "https://x.y.b.example", "PUT", 200, "https://x.y.b.example|GET,PUT|x-a|true|60"},
		{"/narrow", "https://b.example", "PUT", 403, "||||"},
		{"/any", "https://z.example:8443", "DELETE", 200, "https://z.example:8443|DELETE|x-a|true|5"},
		{"/method", "https://a.example", "PUT", 200, "https://a.example|GET,PUT|x-a|true|60"},
		{"/guarded", "https://a.example", "PUT", 200, "https://a.example|GET,PUT|x-a|true|60"},
		{"/guarded", "https://evil.example", "PUT", 403, "||||"},
		{"/both", "https://a.example", "GET", 403, "||||"},
	} {
		a := preflight(test.path, test.origin, test.method)
		h := a.Header
		got := strings.Join([]string{
			strings.Join(h.Values("Access-Control-Allow-Origin"), "+"), h.Get("Access-Control-Allow-Methods"),
			h.Get("Access-Control-Allow-Headers"), h.Get("Access-Control-Allow-Credentials"), h.Get("Access-Control-Max-Age"),
		}, "|")
		if a.Status != test.status || got != test.allowed {
			t.Errorf("preflight of %s for %s: %d %s, want %d %s", test.path, test.origin, a.Status, got, test.status, test.allowed)
		}
	}
	if preflight("/both", "https://policy.example", "GET").Header.Get("Access-Control-Allow-Origin") == "" {
		t.Error("the SecurityPolicy's cors doesn't prevail over the route's")
	}
	if got := len(backend.Requests()); got != before {
		t.Errorf("%d preflights reached the backend", got-before)
	}
	for _, test := range []struct {
		path, origin, want string
		status             int
	}{
		{"/narrow", "https://a.example", "https://a.example", 200},
		{"/narrow", "https://c.example", "", 200},
		{"/guarded", "https://a.example", "https://a.example", 401},
		{"/both", "https://policy.example", "https://policy.example", 200},
		{"/both", "https://a.example", "", 200},
		{"/bad", "https://a.example", "", 500},
		{"/moved", "https://x.b.example", "https://x.b.example", 302},
		{"/moved", "https://evil.example", "", 302},
		{"/gone", "https://a.example", "https://a.example", 500},
		{"/guarded-moved", "https://a.example", "https://a.example", 401},
	} {
		// The backend's own header must not double the gateway's.
		a := gatewaytest.Get(t, at(port, test.path), "Origin: "+test.origin, "x-want-header: Access-Control-Allow-Origin: "+test.want)
		got := strings.Join(a.Header.Values("Access-Control-Allow-Origin"), "+")
		if a.Status != test.status || got != test.want {
			t.Errorf("%s from %s: %d with origin %q, want %d with %q", test.path, test.origin, a.Status, got, test.status, test.want)
		}
		if test.want != "" && !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: Vary is %q", test.path, a.Header.Values("Vary"))
		}
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	manifests := []string{gatewayManifest(port)}
	tests := []struct{ name, match, spec, request, host, want string }{
		{"scheme", "/scheme", "{scheme: https}", "/scheme/x?y=1", "h.example", "302 https://h.example/scheme/x?y=1"},
		{"scheme-port", "/scheme", "", "/scheme", "h.example:8080", "302 https://h.example:443/scheme"},
		{"listener-port", "/lp", "{hostname: n.example}", "/lp", "h.example", fmt.Sprintf("302 http://n.example:%d/lp", port)},
		{"listener-port-kept", "/lpk", "{statusCode: 301}", "/lpk", "h.example:1234", fmt.Sprintf("301 http://h.example:%d/lpk", port)},
		{"port", "/port", "{port: 8443}", "/port", "h.example", "302 http://h.example:8443/port"},
		{"port-scheme", "/ps", "{scheme: https, port: 8443}", "/ps", "h.example", "302 https://h.example:8443/ps"},
		{"known", "/known", "{scheme: https, port: 443}", "/known", "h.example", "302 https://h.example/known"},
		{"known-http", "/kh", "{scheme: http, port: 80}", "/kh", "h.example", "302 http://h.example/kh"},
		{"crossed", "/crossed", "{scheme: https, port: 80}", "/crossed", "h.example", "302 https://h.example:80/crossed"},
		{"303", "/c303", "{scheme: https, statusCode: 303}", "/c303", "h.example", "303 https://h.example/c303"},
		{"307", "/c307", "{scheme: https, statusCode: 307}", "/c307", "h.example", "307 https://h.example/c307"},
		{"308", "/c308", "{scheme: https, statusCode: 308}", "/c308", "h.example", "308 https://h.example/c308"},
		{"full", "/full", "{scheme: https, path: {type: ReplaceFullPath, replaceFullPath: /to}}", "/full/x?y=1", "h.example", "302 https://h.example/to?y=1"},
		{"prefix-root", "/pr", "{scheme: https, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}", "/pr/x?y=1", "h.example", "302 https://h.example/x?y=1"},
		{"prefix-none", "/pn", "{scheme: https, path: {type: ReplacePrefixMatch, replacePrefixMatch: \"\"}}", "/pn", "h.example", "302 https://h.example/"},
	}
	for _, test := range tests {
		if test.spec != "" {
			manifests = append(manifests, route("r"+test.name, "", filtered(test.match, "- {type: RequestRedirect, requestRedirect: "+test.spec+"}", "")))
		}
	}
	gatewaytest.Start(t, all(manifests...))
	for _, test := range tests {
		a := gatewaytest.Get(t, at(port, test.request), "Host: "+test.host)
		if got := fmt.Sprint(a.Status, " ", a.Header.Get("Location")); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// The routes that name CORS headers themselves configure the filter that writes the client's address, too.
func TestAttackClientAddressOnARedirectWithCORS(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port),
		route("moved", "", filtered("/moved", "- {type: RequestRedirect, requestRedirect: {hostname: new.example}}", "")),
		policyManifest("moved", "  cors: {allowOrigins: [\"https://a.example\"]}\n  authorization:\n    defaultAction: Deny\n"+
			"    rules: [{action: Allow, principal: {clientCIDRs: [10.0.0.0/8]}}]")))
	a := gatewaytest.Get(t, at(port, "/moved"), "Origin: https://a.example", "x-gatehouse-client-ip: 10.1.2.3")
	if a.Status != http.StatusForbidden || a.Header.Get("Access-Control-Allow-Origin") != "https://a.example" {
		t.Errorf("a forged client address: %d %q, want 403 that the page may read", a.Status, a.Header)
	}
}

// The table of HTTPPathModifier.replacePrefixMatch.
func TestPrefixReplacement(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := []string{gatewayManifest(port), backendManifest("b", backend.Port)}
	tests := []struct{ request, prefix, replacement, want string }{
		{"/foo/bar", "/foo", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo", "/xyz/", "/xyz/bar"},
		{"/foo/bar", "/foo/", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo/", "/xyz/", "/xyz/bar"},
		{"/foo", "/foo", "/xyz", "/xyz"},
		{"/foo/", "/foo", "/xyz", "/xyz/"},
		{"/foo/bar", "/foo", "", "/bar"},
		{"/foo/", "/foo", "", "/"},
		{"/foo", "/foo", "", "/"},
		{"/foo/", "/foo", "/", "/"},
		{"/foo", "/foo", "/", "/"},
		{"/foo?q=1", "/foo", "/", "/?q=1"},
		{"/foo", "/", "/xyz", "/xyz/foo"},
		{"/foo", "/", "/", "/foo"},
		{"/foo/bar", "/foo", "xyz", "/xyz/bar"},
	}
	for i, test := range tests {
		rewrite := fmt.Sprintf("- {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: %q}}}", test.replacement)
		manifests = append(manifests, route(fmt.Sprintf("r%d", i), fmt.Sprintf("h%d.example", i), filtered(test.prefix, rewrite, "b")))
	}
	gatewaytest.Start(t, all(manifests...))
	for i, test := range tests {
		a := gatewaytest.Get(t, at(port, test.request), fmt.Sprintf("Host: h%d.example", i))
		if a.Seen.Path != test.want {
			t.Errorf("%s with %s for %s: %q, want %q (%d)", test.request, test.replacement, test.prefix, a.Seen.Path, test.want, a.Status)
		}
	}
}

func TestRulesThatContradictThemselves(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	rules := map[string]string{
		"twice":    filtered("/twice", strings.Repeat("- {type: URLRewrite, urlRewrite: {hostname: a.example}}\n", 2), "b"),
		"both":     filtered("/both", "- {type: URLRewrite, urlRewrite: {hostname: a.example}}\n- {type: RequestRedirect, requestRedirect: {hostname: b.example}}", ""),
		"noprefix": "matches: [{path: {type: Exact, value: /noprefix}}]\nfilters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /x}}}]\n" + to("b"),
		"scheme":   filtered("/scheme", "- {type: RequestRedirect, requestRedirect: {scheme: ftp}}", ""),
		"retry":    "matches: [{path: {value: /retry}}]\nretry: {codes: [200]}\n" + to("b"),
		"session":  "matches: [{path: {value: /session}}]\nsessionPersistence: {cookieConfig: {lifetimeType: Permanent}}\n" + to("b"),
	}
	manifests := []string{gatewayManifest(port), backendManifest("b", backend.Port), route("sound", "", to("b"))}
	for name, rule := range rules {
		manifests = append(manifests, route(name, "", rule))
	}
	gatewaytest.Start(t, all(manifests...))
	for name := range rules {
		if a := gatewaytest.Get(t, at(port, "/"+name)); a.Status != http.StatusInternalServerError {
			t.Errorf("%s: %d, want 500", name, a.Status)
		}
	}
	if a := gatewaytest.Get(t, at(port, "/")); a.Status != http.StatusOK {
		t.Errorf("the sound route beside them: %d", a.Status)
	}
}
