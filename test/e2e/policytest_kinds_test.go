package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/internal/policytest"
)

// kindsGateway has listeners of its own for hosts, certificates and another namespace's objects.
const kindsGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: gatehouse
  addresses: [{type: IPAddress, value: 127.0.0.1}]
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - {name: http, port: 8080, protocol: HTTP}
  - {name: host, port: 8080, protocol: HTTP, hostname: own.example}
  - {name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: any}]}}
  - {name: named, port: 8443, protocol: HTTPS, hostname: "*.tls.example", tls: {certificateRefs: [{name: tls}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: set}
spec:
  parentRef: {name: gw}
  listeners: [{name: more, port: 8080, protocol: HTTP, hostname: set.example}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: onset}
spec:
  parentRefs: [{kind: ListenerSet, name: set}]
  rules: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}]
`

// kindsRules is a route of every match and every filter; each path has one.
const kindsRules = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: matches}
spec:
  parentRefs: [{name: gw}]
  rules:
  - {name: exact, matches: [{path: {type: Exact, value: /exact}}], backendRefs: &b [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}
  - {name: pattern, matches: [{path: {type: RegularExpression, value: "/re/[a-z]+/[0-9]{2}"}}], backendRefs: *b}
  - {name: header, matches: [{path: {value: /match}, headers: [{name: x-kind, value: a}]}], backendRefs: *b}
  - {name: headers, matches: [{path: {value: /match}, headers: [{name: x-kind, value: "b|c", type: RegularExpression}, {name: x-more, value: "1"}]}], backendRefs: *b}
  - {name: query, matches: [{path: {value: /match}, queryParams: [{name: q, value: "1"}]}], backendRefs: *b}
  - {name: method, matches: [{path: {value: /match}, method: DELETE}], backendRefs: *b}
  - name: edited
    matches: [{path: {value: /edited}}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-kind, value: set}], add: [{name: x-more, value: "100%"}], remove: [x-pass]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-served, value: by-us}], add: [{name: x-also, value: "50%"}]}}
    backendRefs: *b
  - name: rewritten
    matches: [{path: {value: /rewritten}}]
    filters: [{type: URLRewrite, urlRewrite: {hostname: inner.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
    backendRefs: *b
  - name: replaced
    matches: [{path: {value: /replaced}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: "/a\\1b"}}}]
    backendRefs: *b
  - name: cut
    matches: [{path: {value: /cut/off}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: *b
  - name: mirrored
    matches: [{path: {value: /mirrored}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {group: gateway.envoyproxy.io, kind: Backend, name: copy}}}]
    backendRefs: *b
  - name: cors
    matches: [{path: {value: /routecors}}]
    filters: [{type: CORS, cors: {allowOrigins: ["https://app.example"], allowMethods: [GET, PUT], allowHeaders: [x-a], exposeHeaders: [x-e], allowCredentials: true, maxAge: 60}}]
    backendRefs: *b
  - {name: shares, matches: [{path: {value: /shares}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b, weight: 1}, {group: gateway.envoyproxy.io, kind: Backend, name: copy, weight: 3}]}
  - {name: unused, matches: [{path: {value: /unused}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b, weight: 1}, {group: gateway.envoyproxy.io, kind: Backend, name: copy, weight: 0}]}
  - {name: nothing, matches: [{path: {value: /nothing}}]}
`

// kindsSite has a route for each kind of policy too, by name of its path.
func kindsSite(t *testing.T) (manifests string, credentials [][]string, paths []string) {
	t.Helper()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	keys := "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {client-a: key-of-a}\n"
	rego := func(rule string) string {
		return "  opa:\n    body: {maxBytes: 64}\n    decision: envoy/authz/decide\n    modules:\n    - type: Inline\n      inline: |\n        package envoy.authz\n        import rego.v1\n        " + rule + "\n"
	}
	const decides = `decide := {"allowed": input.parsed_body.good == true, "headers": {"x-rego": "yes"}, "response_headers_to_add": {"x-decided": "yes"}, "body": "no", "http_status": 403}`
	site := []struct{ name, spec string }{
		{"cel", "  authorization: {defaultAction: Deny, rules: [{name: pass, action: Allow, cel: \"request.headers['x-pass'] == 'yes' && request.method in ['GET', 'POST']\"}]}\n"},
		{"claims", jwtSpec(issuer, "      claimToHeaders: [{claim: sub, header: x-user}]\n") + "  authorization: {defaultAction: Deny, rules: [{action: Allow, principal: {jwt: {provider: idp, claims: [{name: team, values: [a]}]}}}]}\n"},
		{"host", "  authorization: {defaultAction: Deny, rules: [{action: Allow, cel: \"request.host.startsWith('any.example') && !request.host.contains('.:') && !request.host.endsWith('.')\"}]}\n"},
		{"headers", "  authorization: {defaultAction: Allow, rules: [{action: Deny, principal: {headers: [{name: x-kind, values: [a, b]}]}}]}\n"},
		{"body", rego(decides)},
		{"streamed", "  enforcement: ExtProc\n" + rego(decides)},
		{"streamedbasic", "  enforcement: ExtProc\n  cors: {allowOrigins: ['https://app.example']}\n  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}\n"},
		{"keys", "  apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}, {params: [key]}, {cookies: [key]}], forwardClientIDHeader: x-user, sanitize: true}\n"},
		{"optional", "  cors: {allowOrigins: ['~^https://[a-z]+\\.example$'], exposeHeaders: [x-e]}\n" + strings.Replace(jwtSpec(issuer, "      claimToHeaders: [{claim: sub, header: x-user}]\n"), "  jwt:", "  jwt:\n    optional: true", 1)},
		{"fallback", "  authMode: Any\n  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}\n  apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}], forwardClientIDHeader: x-user}\n"},
	}
	all := []string{kindsGateway, kindsRules, backendManifest("b", 9), backendManifest("copy", 9), usersManifest, keys,
		gatewaytest.NewCertificate(t, "any.example").Secret("any"), gatewaytest.NewCertificate(t, "*.tls.example").Secret("tls"),
		route("only", "only.tls.example", to("b")), route("own", "own.example", to("b")),
		onTarget("listener", "kind: Gateway, name: gw, sectionName: host", basicSpec), onTarget("set", "kind: ListenerSet, name: set", basicSpec),
		onTarget("rule", "kind: HTTPRoute, name: matches, sectionName: query", "  authorization: {defaultAction: Deny}"),
		onTarget("merged", "kind: HTTPRoute, name: own", "  mergeType: StrategicMerge\n  authorization: {defaultAction: Deny, rules: [{action: Allow, operation: {methods: [GET]}}]}"),
	}
	paths = []string{"/exact", "/exact/", "/re/abc/12", "/re/abc/123", "/match", "/match?q=1&q=2", "/match?q=%31", "/edited", "/rewritten/x?y", "/rewritten", "/replaced/x?y", "/cut/off/x", "/cut/off", "/mirrored", "/routecors", "/shares", "/unused", "/nothing", "/keys?key=key-of-a&x", "/a/../cel", "//cel/./x", "/cel%2fx"}
	for _, s := range site {
		all = append(all, routeManifest(s.name, prefix("/"+s.name), "b"), policyManifest(s.name, s.spec))
		paths = append(paths, "/"+s.name)
	}
	credentials = [][]string{
		nil, {"x-kind: a", "x-pass: yes"}, {"x-kind: c", "x-more: 1"}, {"x-kind: b", "x-kind: a"}, {"x-kind: a, b"},
		{"authorization: Basic YWxpY2U6cGFzc3dvcmQ=", "x-user: root", "x-pass: yes"}, {"authorization: Basic YWxpY2U6d3Jvbmc=", "x-api-key: key-of-a"},
		{"authorization: Bearer " + issuer.Token(t, map[string]any{"sub": "carol", "team": "a"}), "x-user: root"}, {"authorization: Bearer " + issuer.Token(t, map[string]any{"sub": "mallory"})},
		{"x-api-key: key-of-a", "x-user: root"}, {"cookie: a=b; key=key-of-a"}, {"origin: https://app.example"}, {"origin: https://app.example", "access-control-request-method: PUT"},
		{"origin: https://evil.invalid", "access-control-request-method: PUT"}, {"content-type: application/grpc", "x-kind: a"}, {"content-type: application/json"},
		{"host: any.example."}, {"referer: https://u@app.example/", "x-gatehouse-client-ip: 192.0.2.7", "x-gatehouse-recompute: 1", "x-forwarded-for: 192.0.2.7", "forwarded: for=192.0.2.7"},
	}
	return strings.Join(all, "\n---\n"), credentials, paths
}

// TestTheEngineAndEnvoyAgreeOnEveryKind of match, filter, listener and policy: on verdicts, statuses and headers, by
// HTTP/1.1 and HTTP/2, asked in process, by ext_authz and by ext_proc.
func TestTheEngineAndEnvoyAgreeOnEveryKind(t *testing.T) {
	t.Parallel()
	manifests, credentials, paths := kindsSite(t)
	var cases []policytest.Case
	add := func(method, url, body string, headers []string) {
		c := policytest.Case{Name: fmt.Sprint(len(cases), " ", method, " ", url, " ", len(headers)), Request: policytest.Request{
			Method: method, URL: url, Body: body, HTTP2: len(cases)%3 == 1, Headers: map[string]policytest.Texts{},
		}}
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			c.Request.Headers[name] = append(c.Request.Headers[name], value)
		}
		cases = append(cases, c)
	}
	for _, path := range paths {
		for i, headers := range credentials {
			method := []string{http.MethodGet, http.MethodOptions, http.MethodDelete}[i%3]
			if strings.Contains(strings.Join(headers, " "), "access-control-request-method") {
				method = http.MethodOptions
			}
			add(http.MethodGet, "http://any.example:8080"+path, "", headers)
			add(method, "https://any.example:8443"+path, "", headers)
		}
	}
	for _, body := range []string{`{"good": true}`, `{"good": false}`, `{"good": true, "more": "` + strings.Repeat("x", 64) + `"}`, "not JSON", " "} {
		for _, path := range []string{"/body", "/streamed", "/cel"} {
			for _, kind := range []string{"application/json", "text/plain", "application/grpc"} {
				add(http.MethodPost, "http://any.example:8080"+path, body, []string{"content-type: " + kind, "x-pass: yes"})
			}
		}
	}
	for _, host := range []string{"http://own.example:8080", "http://OWN.example:8080", "http://set.example:8080", "http://other.example:8080", "https://only.tls.example:8443", "https://x.tls.example:8443", "https://own.example:8443", "http://only.tls.example:8080"} {
		for _, headers := range [][]string{nil, {"authorization: Basic YWxpY2U6cGFzc3dvcmQ="}, {"host: set.example"}, {"host: only.tls.example"}} {
			add(http.MethodGet, host+"/cel", "", headers)
			add(http.MethodPut, host+"/", "", headers)
		}
	}
	if len(cases) < 900 {
		t.Errorf("only %d cases", len(cases))
	}
	file, list := writeFile(t, manifests), casesFile(t, cases)
	if stdout, stderr, code := command(t, "validate", "-f", file); code != 0 {
		t.Fatalf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, transport := range []string{"", "extauthz", "extproc"} {
		stdout, stderr, code := command(t, "test", "-f", file, "--transport="+transport, "--envoy="+envoytest.Binary(t), list)
		if code == 0 && strings.Contains(stdout, fmt.Sprintf("%d passed, 0 failed", len(cases))) {
			continue
		}
		for line := range strings.Lines(stdout) {
			if !strings.HasPrefix(line, "ok") {
				t.Log(line)
			}
		}
		t.Errorf("--transport=%s: exit %d: %s", transport, code, stderr)
	}
}
