package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// guardedSite is one route for each way of protection, and what clients of it may send.
func guardedSite(t *testing.T, port, backend int) (manifests map[string]string, requests []explain.Request) {
	t.Helper()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	keys := "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {client-a: key-of-a}\n"
	basic := "  basicAuth: {users: {name: users}, realm: r, forwardUsernameHeader: x-user}\n"
	const login = "  oidc: {provider: {issuer: https://idp.example, authorizationEndpoint: 'https://idp.example/authorize', tokenEndpoint: 'http://127.0.0.1:9/token'}, clientID: c, clientSecret: {name: oidc}, " +
		"logoutPath: /login/out, redirectURL: '%REQ(x-forwarded-proto)%://%REQ(:authority)%/login/back', denyRedirect: {headers: [{name: accept, value: application/json}]}}\n"
	site := []struct{ name, spec string }{
		{"basic", basic},
		{"jwt", jwtSpec(issuer, "claimToHeaders: [{claim: sub, header: x-user}]")},
		{"any", "  authMode: Any\n" + basic + jwtSpec(issuer, "")},
		{"all", basic + "  apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}]}\n"},
		{"key", "  apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}], forwardClientIDHeader: x-user, sanitize: true}\n"},
		{"rules", basic + "  authorization: {defaultAction: Deny, rules: [{action: Allow, operation: {methods: [GET]}, principal: {clientCIDRs: [127.0.0.0/8]}}]}\n"},
		{"remote", "  authorization: {defaultAction: Deny, rules: [{action: Allow, principal: {clientCIDRs: [192.0.2.0/24]}}]}\n"},
		{"opa", "  opa: {modules: [{type: Inline, inline: \"package envoy.authz\\nimport rego.v1\\ndefault allow := false\\nallow if input.attributes.request.http.headers[\\\"x-pass\\\"] == \\\"yes\\\"\"}]}\n"},
		{"cors", basic + "  cors: {allowOrigins: ['https://app.example'], allowMethods: [PUT], allowCredentials: true}\n"},
		{"dry", "  dryRun: true\n" + basic},
		{"gone", "  basicAuth: {users: {name: missing}}\n"},
		{"page", basic + "  cors: {allowOrigins: ['https://app.example']}\n  csrf: {additionalOrigins: ['https://app.example', 'https://*.apps.example:8443']}\n"},
		{"counted", "  csrf: {shadowFraction: {numerator: 1, denominator: 1}}\n"},
		{"login", "  cors: {allowOrigins: ['https://app.example']}\n" + login},
	}
	all := []string{gatewayManifest(port), backendManifest("b", backend), usersManifest, keys, oidcSecret,
		routeManifest("open", prefix("/open"), "b"), routeManifest("nowhere", prefix("/nowhere"), "missing"),
		route("moved", "", "matches: ["+prefix("/moved")+"]\nfilters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /open}}}]"),
	}
	for name, filter := range map[string]string{
		"prefix": "path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}", "root": "path: {type: ReplacePrefixMatch, replacePrefixMatch: /}",
		"secure": "scheme: https, statusCode: 301", "other": "hostname: other.example, port: 8443",
	} {
		all = append(all, route(name, "", "matches: ["+prefix("/"+name)+"]\nfilters: [{type: RequestRedirect, requestRedirect: {"+filter+"}}]"))
	}
	paths := []string{"/prefix/x?y=1", "/prefix", "/root/x", "/root", "/secure/a?b", "/other", "/open", "/open//x", "/a%2fb", "/moved", "/nowhere", "/else", "/"}
	for _, s := range site {
		all = append(all, routeManifest(s.name, prefix("/"+s.name), "b"), policyManifest(s.name, s.spec))
		paths = append(paths, "/"+s.name)
	}
	credentials := [][]string{
		nil, {"authorization: Basic YWxpY2U6cGFzc3dvcmQ="}, {"authorization: Basic YWxpY2U6d3Jvbmc="},
		{"authorization: Bearer " + issuer.Token(t, map[string]any{"sub": "carol"})}, {"authorization: Bearer x.y.z", "x-user: root"},
		{"x-api-key: key-of-a", "authorization: Basic YWxpY2U6cGFzc3dvcmQ=", "x-pass: yes", "origin: https://app.example"},
		{"origin: https://app.example", "access-control-request-method: PUT"}, {"origin: https://evil.example", "access-control-request-method: PUT"},
		{"content-type: application/grpc"}, {"x_user: root"},
	}
	for _, path := range paths {
		for _, headers := range credentials {
			for _, method := range []string{http.MethodGet, http.MethodOptions} {
				requests = append(requests, explain.Request{Method: method, URL: at(port, path), Headers: headers})
			}
		}
	}
	requests = append(requests, crossSiteRequests(port)...)
	for path, headers := range map[string][]string{
		"/login": {"accept: application/json"}, "/login/x": {"cookie: a=b"}, "/login/out": nil, "/login/back?code=c&state=s": nil, "/login/back": nil,
		"/login?x=/login/out": nil, "/login/y": {"content-type: application/grpc"}, "/login/z": {"origin: https://app.example"},
	} {
		requests = append(requests, explain.Request{Method: http.MethodGet, URL: at(port, path), Headers: headers})
	}
	return map[string]string{"all.yaml": strings.Join(all, "\n---\n")}, requests
}

// crossSiteRequests are what pages send to routes with csrf, the odd ones included.
func crossSiteRequests(port int) (requests []explain.Request) {
	own := fmt.Sprintf("127.0.0.1:%d", port)
	for _, headers := range [][]string{
		nil, {"origin: http://" + own}, {"origin: https://" + own}, {"origin: http://" + own + "/"}, {"origin: http://" + own + ".evil.example"}, {"origin: " + own},
		{"origin: null"}, {"origin: https://evil.example"}, {"origin: https://app.example"}, {"origin: HTTPS://app.example"}, {"origin: https://APP.example"},
		{"origin: https://app.example:443"}, {"origin: https://a.b.apps.example:8443"}, {"origin: https://apps.example:8443"}, {"origin: https://user@app.example"},
		{"origin: https://app.example@evil.example"}, {"origin: https://a@b@app.example"}, {"origin: https://evil.example\\@app.example"}, {"origin: https://app.example:"},
		{"origin: https://[::1]:80"}, {"origin: app.example"}, {"origin: ://app.example"}, {"origin: h2://app.example"}, {"origin: x+y://app.example"}, {"origin: x.y://app.example"}, {"origin: x-y://app.example"}, {"origin: 1x://app.example"}, {"origin: x_y://app.example"},
		{"referer: /app.example"}, {"referer: app.example"}, {"referer: //app.example"}, {"referer: https://u@app.example/"}, {"referer: https://app.example/#x"}, {"origin: https:///app.example"},
		{"referer: https://app.example/form?x=y#z"}, {"referer: https://app.example?x"}, {"referer: https://evil.example/https://app.example"},
		{"origin: https://evil.example", "referer: https://app.example/"}, {"origin: https://app.example", "referer: https://evil.example/"},
		{"origin: https://app.example", "origin: https://evil.example"}, {"origin: https://evil.example", "origin: https://app.example"},
		{"host: 127.0.0.1", "origin: http://127.0.0.1"}, {"host: www.example.", "origin: http://www.example"}, {"host: www.example.:80", "origin: http://www.example:80"},
		{"host: WWW.example", "origin: http://www.example"}, {"content-type: application/grpc", "origin: https://evil.example"},
	} {
		for _, path := range []string{"/page", "/counted"} {
			requests = append(requests, explain.Request{Method: http.MethodPost, URL: at(port, path), Headers: append([]string{"authorization: Basic YWxpY2U6cGFzc3dvcmQ="}, headers...)})
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodTrace, "PROPFIND"} {
		requests = append(requests, explain.Request{Method: method, URL: at(port, "/counted"), Headers: []string{"origin: https://evil.example"}},
			explain.Request{Method: method, URL: at(port, "/page"), Headers: []string{"origin: https://evil.example", "authorization: Basic YWxpY2U6cGFzc3dvcmQ="}})
	}
	return requests
}

// TestExplainAgreesWithTheGateway asks both about the same requests, and the command about the same files.
func TestExplainAgreesWithTheGateway(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests, requests := guardedSite(t, port, backend.Port)
	g := gatewaytest.Start(t, manifests)
	if len(requests) < 200 {
		t.Errorf("only %d requests", len(requests))
	}
	statuses := map[int]int{}
	for i := range requests {
		r := &requests[i]
		got := askGateway(t, g, r)
		sent := gatewaytest.Send(t, r.Method, r.URL, r.Headers...)
		statuses[sent.Status]++
		if fault := disagreement(got, sent); fault != "" {
			t.Errorf("%s %s %.60q: %s\n%+v", r.Method, r.URL, r.Headers, fault, got.Verdict)
		}
	}
	for _, status := range []int{200, 204, 302, 307, 400, 401, 403, 404, 500, 503} {
		if statuses[status] == 0 {
			t.Errorf("no request was answered %d: %v", status, statuses)
		}
	}
	for _, i := range []int{0, 1, len(requests) / 2} { // the command reads the same code: a few are enough
		args := []string{"explain", "-f", g.Dir, "-o", "json", requests[i].Method, requests[i].URL}
		for _, h := range requests[i].Headers {
			args = append(args, "-H", h)
		}
		stdout, _, code := command(t, args...)
		var got explain.Explanation
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 1 { // a Secret and a Backend are missing
			t.Fatalf("exit %d, %v: %s", code, err, stdout)
		}
		if fault := disagreement(&got, gatewaytest.Send(t, requests[i].Method, requests[i].URL, requests[i].Headers...)); fault != "" {
			t.Errorf("%v: %s", args, fault)
		}
	}
}

// disagreement compares the status, the headers that a browser or a client goes by, and who the backend
// thinks is calling.
func disagreement(got *explain.Explanation, sent gatewaytest.Answer) string {
	v := got.Verdict
	switch want := v.Status; {
	case v.Outcome == explain.Forwarded && sent.Seen.Backend == "":
		return fmt.Sprintf("forwarded, but no backend answered %d", sent.Status)
	case v.Outcome != explain.Forwarded && (want != sent.Status || sent.Seen.Backend != ""):
		return fmt.Sprintf("status %d, the gateway %d", want, sent.Status)
	case v.RequestHeaders["x-user"] != "" && sent.Seen.Header.Get("x-user") != v.RequestHeaders["x-user"]:
		return fmt.Sprintf("x-user %q, the backend got %q", v.RequestHeaders["x-user"], sent.Seen.Header.Get("x-user"))
	}
	for _, name := range []string{"www-authenticate", "access-control-allow-origin", "access-control-allow-credentials", "access-control-allow-methods"} {
		if want := strings.Join(sent.Header.Values(name), ", "); v.ResponseHeaders[name] != want {
			return fmt.Sprintf("%s: %q, the gateway %q", name, v.ResponseHeaders[name], want)
		}
	}
	location, _, login := strings.Cut(sent.Header.Get("location"), "?client_id=") // what follows is random
	if v.Outcome != explain.Forwarded && v.Location != location && v.GRPCStatus == nil && (login || !strings.Contains(v.Reason, "logged out")) {
		return fmt.Sprintf("location %q, the gateway %q", v.Location, sent.Header.Get("location"))
	}
	if v.GRPCStatus != nil && sent.Header.Get("grpc-status") != fmt.Sprint(*v.GRPCStatus) {
		return fmt.Sprintf("grpc-status %d, the gateway %q", *v.GRPCStatus, sent.Header.Get("grpc-status"))
	}
	return ""
}

func askGateway(t *testing.T, g *gatewaytest.Gateway, r *explain.Request) *explain.Explanation {
	t.Helper()
	question, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Post(g.Admin+"/api/explain", "application/json", bytes.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%d %v %s", response.StatusCode, err, text)
	}
	var got explain.Explanation
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return &got
}

// TestExplainNamesEverything that takes a request, and exits 0 on a denial.
func TestExplainNamesEverything(t *testing.T) {
	t.Parallel()
	file := writeFile(t, strings.Join([]string{
		gatewayManifest(8080), backendManifest("b", 9), routeManifest("r", prefix("/x"), "b"), policyManifest("r", "  cors: {allowOrigins: ['*']}\n  basicAuth: {users: {name: users}}"),
		onTarget("wide", "kind: Gateway, name: gw", "  basicAuth: {users: {name: users}}"),
		usersManifest,
	}, "\n---\n"))
	stdout, stderr, code := command(t, "explain", "-f", file, "GET", "http://shop.example:8080/x/../x/y?q=1", "--from", "192.0.2.7")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, want := range []string{
		"GET http://shop.example:8080/x/y from 192.0.2.7", "Gateway default/gw, listener http on 127.0.0.1:8080",
		"HTTPRoute default/r, rule 0: path prefix /x", "SecurityPolicy default/r on HTTPRoute default/r: cors, basicAuth",
		"SecurityPolicy default/wide on Gateway default/gw: not in force", "Backend default/b: 127.0.0.1:9",
		"denied with 401 by SecurityPolicy default/r: credentials_missing",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	for name, args := range map[string][]string{
		"no URL": {"GET"}, "not a URL": {"GET", "shop.example/x"}, "two sources": {"GET", "http://x/", "--server", "127.0.0.1:1"},
		"bad header": {"GET", "http://x/", "-H", "nope"}, "bad address": {"GET", "http://x/", "--from", "home"},
	} {
		if stdout, stderr, code := command(t, append([]string{"explain", "-f", file}, args...)...); code != 2 || stderr == "" {
			t.Errorf("%s: exit %d: %s%s", name, code, stdout, stderr)
		}
	}
	if _, stderr, code := command(t, "explain", "--server", "127.0.0.1:1", "GET", "http://x/"); code != 3 {
		t.Errorf("no gateway: exit %d: %s", code, stderr)
	}
}

// TestExplainAgreesAboutHTTP2 too: what policies see of it, and what ends a stream.
func TestExplainAgreesAboutHTTP2(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	const second = "  authorization: {defaultAction: Deny, rules: [{action: Allow, cel: \"request.protocol == 'HTTP/2'\"}]}\n"
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("open", prefix("/"), "b"),
		routeManifest("second", prefix("/second"), "b"), policyManifest("second", second)))
	for _, headers := range [][]string{
		nil, {"x-a: b"}, {"x_a: b"}, {"te: trailers"}, {"te: gzip"}, {"connection: close"}, {"keep-alive: 1"}, {"upgrade: websocket"}, {"transfer-encoding: chunked"}, {"proxy-connection: x"},
	} {
		for _, path := range []string{"/", "/second", "/a%00b", "/a%2fb"} {
			t.Run(path+fmt.Sprint(headers), func(t *testing.T) { // Envoy takes a second to end a connection
				t.Parallel()
				r := &explain.Request{Method: http.MethodGet, URL: at(port, path), Headers: headers, HTTP2: true}
				fields := []string{":method=GET", ":scheme=http", fmt.Sprintf(":authority=127.0.0.1:%d", port), ":path=" + path}
				for _, h := range headers {
					fields = append(fields, strings.Replace(h, ": ", "=", 1))
				}
				want, v := exchangeHTTP2(t, port, fields), askGateway(t, g, r).Verdict
				got := fmt.Sprint(v.Status)
				switch v.Outcome {
				case explain.Refused:
					got = ""
				case explain.Forwarded:
					got = "200"
				}
				if got != want {
					t.Errorf("%q, the gateway %q: %s", got, want, v.Reason)
				}
			})
		}
	}
	if v := askGateway(t, g, &explain.Request{Method: http.MethodGet, URL: at(port, "/second")}).Verdict; v.Status != http.StatusForbidden {
		t.Errorf("by HTTP/1.1: %+v", v)
	}
}

// TestExplainKnowsWhatEnvoyRefuses: a rule that Envoy doesn't take answers 503 there, and explain says so in Envoy's
// words.
func TestExplainKnowsWhatEnvoyRefuses(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("good", prefix("/good"), "b"),
		route("bad", "", fmt.Sprintf("matches: [{path: {type: RegularExpression, value: '%s'}}]\n%s", refusedByEnvoy, to("b"))),
		route("both", "bad.example", fmt.Sprintf("matches: [%s, {path: {type: RegularExpression, value: '%s'}}]\n%s", prefix("/good"), refusedByEnvoy, to("b")))))
	for _, path := range []string{"/good", "/" + strings.Repeat("a", 60), "/a"} {
		for _, host := range []string{"Host: good.example", "Host: bad.example"} {
			r := &explain.Request{Method: http.MethodGet, URL: at(port, path), Headers: []string{host}}
			got, sent := askGateway(t, g, r), gatewaytest.Get(t, r.URL, host)
			if fault := disagreement(got, sent); fault != "" {
				t.Errorf("%s %s: %s\n%+v", host, path, fault, got)
			}
			if told := strings.Contains(strings.Join(got.Notes, " "), "Envoy refuses rules[0]"); told != (sent.Status == http.StatusServiceUnavailable) {
				t.Errorf("%s %s: %d, notes %q", host, path, sent.Status, got.Notes)
			}
		}
	}
}
