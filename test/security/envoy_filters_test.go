package security_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// The tests of this file say what docs/security.md says of Envoy's own filters, in its table of differences: a
// newer Envoy that behaves otherwise turns them red, and the table is to be changed.

// listener is one of a bootstrap, with filters before the router.
func listener(port int, filters ...string) string {
	var list strings.Builder
	for _, f := range filters {
		kind, config, _ := strings.Cut(f, " ")
		fmt.Fprintf(&list, "          - {name: %s, typed_config: {\"@type\": type.googleapis.com/%s, %s}}\n", kind, kind, config)
	}
	return fmt.Sprintf(`
  - address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          normalize_path: true
          merge_slashes: true
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{match: {prefix: "/"}, route: {cluster: backend}}]
              typed_per_filter_config:
                cors: {"@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy, allow_origin_string_match: [{exact: "https://app.example"}], allow_methods: PUT}
          http_filters:
%s          - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
`, port, strings.ReplaceAll(list.String(), "name: envoy.extensions.filters.http.cors.v3.Cors,", "name: cors,"))
}

func static(backend int, listeners ...string) string {
	return "static_resources:\n  listeners:" + strings.Join(listeners, "") + fmt.Sprintf(`
  clusters:
  - name: backend
    connect_timeout: 5s
    load_assignment: {cluster_name: backend, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}
  - name: gone
    connect_timeout: 5s
    typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}
    load_assignment: {cluster_name: gone, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: /nonexistent/authorizer.sock}}}}]}]}
`, backend)
}

const (
	corsFilter  = `envoy.extensions.filters.http.cors.v3.Cors `
	basicFilter = `envoy.extensions.filters.http.basic_auth.v3.BasicAuth users: {inline_string: "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="}, forward_username_header: x-user`
	alice       = "Authorization: Basic YWxpY2U6cGFzc3dvcmQ="
	page        = "Origin: https://app.example"
)

// TestEnvoysBasicAuthKnowsOneHash: a bcrypt user keeps the whole configuration from being taken.
func TestEnvoysBasicAuthKnowsOneHash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hash  string
		taken bool
	}{
		"SHA": {"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", true}, "bcrypt": {"$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", false},
		"apr1": {"$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0", false}, "SSHA": {"{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0", false},
	} {
		filter := `envoy.extensions.filters.http.basic_auth.v3.BasicAuth users: {inline_string: "alice:` + c.hash + `"}`
		if out, err := envoytest.Check(t, static(9, listener(envoytest.FreePort(t), filter))); (err == nil) != c.taken {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
}

// TestWhatEnvoysFiltersAnswer to browsers and to those who look for a way in.
func TestWhatEnvoysFiltersAnswer(t *testing.T) {
	t.Parallel()
	backend := gatewaytest.NewBackend(t, "b")
	basic, key, rbac, path, authz := envoytest.FreePort(t), envoytest.FreePort(t), envoytest.FreePort(t), envoytest.FreePort(t), envoytest.FreePort(t)
	deny := func(matcher string) string {
		return `envoy.extensions.filters.http.rbac.v3.RBAC rules: {action: DENY, policies: {p: {permissions: [` + matcher + `], principals: [{any: true}]}}}`
	}
	envoytest.Start(t, static(backend.Port,
		listener(basic, corsFilter, basicFilter),
		listener(key, `envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth credentials: [{key: key-of-a, client: a}], key_sources: [{header: x-api-key}, {query: key}]`),
		listener(rbac, corsFilter, deny(`{header: {name: x-team, string_match: {exact: evil}}}`)),
		listener(path, deny(`{url_path: {path: {exact: /admin}}}`)),
		listener(authz, corsFilter, `envoy.extensions.filters.http.ext_authz.v3.ExtAuthz grpc_service: {envoy_grpc: {cluster_name: gone}, timeout: 1s}`)))
	for name, c := range map[string]struct {
		port           int
		method, path   string
		header         []string
		status         int
		reached        bool
		carries, lacks string // a header, or a text of the body
	}{
		"basic_auth: no credential":        {basic, "GET", "/", nil, 401, false, "missing username and password", ""},
		"basic_auth: a wrong password":     {basic, "GET", "/", []string{"Authorization: Basic YWxpY2U6d3Jvbmc="}, 401, false, "username/password combination", ""},
		"cors: a page on a 401":            {basic, "GET", "/", []string{page}, 401, false, "Access-Control-Allow-Origin", "Vary"},
		"cors: a page on a 200":            {basic, "GET", "/", []string{page, alice}, 200, true, "Access-Control-Allow-Origin", "Vary"},
		"cors: preflight":                  {basic, "OPTIONS", "/", []string{page, "Access-Control-Request-Method: PUT"}, 200, false, "Access-Control-Allow-Origin", ""},
		"cors: preflight of another page":  {rbac, "OPTIONS", "/", []string{"Origin: https://evil.example", "Access-Control-Request-Method: PUT"}, 200, true, "", "Access-Control-Allow-Origin"},
		"api_key_auth: no key":             {key, "GET", "/", nil, 401, false, "", "Www-Authenticate"},
		"api_key_auth: two keys":           {key, "GET", "/", []string{"x-api-key: key-of-a", "x-api-key: other"}, 200, true, "", ""},
		"api_key_auth: two places":         {key, "GET", "/?key=other", []string{"x-api-key: key-of-a"}, 200, true, "", ""},
		"rbac: a header":                   {rbac, "GET", "/", []string{"x-team: evil"}, 403, false, "", ""},
		"rbac: a header of two lines":      {rbac, "GET", "/", []string{"x-team: a", "x-team: evil"}, 403, false, "", ""},
		"rbac: a header with a list":       {rbac, "GET", "/", []string{"x-team: a, evil"}, 200, true, "", ""},
		"rbac: a header with underscore":   {rbac, "GET", "/", []string{"x_team: evil"}, 200, true, "", ""},
		"rbac: a path":                     {path, "GET", "/admin", nil, 403, false, "", ""},
		"rbac: a path with parameters":     {path, "GET", "/admin;x", nil, 200, true, "", ""},
		"rbac: a path with an escape":      {path, "GET", "/%61dmin", nil, 403, false, "", ""},
		"rbac: a path with hidden slashes": {path, "GET", "/;/admin", nil, 200, true, "", ""},
		"ext_authz: no server":             {authz, "GET", "/", []string{page}, 403, false, "Access-Control-Allow-Origin", ""},
	} {
		before := len(backend.Requests())
		a := gatewaytest.Send(t, c.method, fmt.Sprintf("http://127.0.0.1:%d%s", c.port, c.path), c.header...)
		reached := len(backend.Requests()) > before
		has := func(text string) bool {
			return a.Header.Get(text) != "" || strings.Contains(strings.ToLower(a.Body), strings.ToLower(text))
		}
		if a.Status != c.status || reached != c.reached || c.carries != "" && !has(c.carries) || c.lacks != "" && has(c.lacks) {
			t.Errorf("%s: %d, reached %v: %v %s", name, a.Status, reached, a.Header, a.Body)
		}
	}
}

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// TestWhatEnvoysVerifierTakes: tokens that Gatehouse refuses, or about which it is of another mind.
func TestWhatEnvoysVerifierTakes(t *testing.T) {
	t.Parallel()
	backend, required, optional := gatewaytest.NewBackend(t, "b"), envoytest.FreePort(t), envoytest.FreePort(t)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	keys, err := json.Marshal(fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"e","alg":"EdDSA","x":"%s"},{"kty":"RSA","kid":"r","alg":"RS256","n":"%s","e":"AQAB"},{"kty":"oct","kid":"h","alg":"HS256","k":"%s"}]}`,
		segment(string(public)), number(weak.N), segment("short")))
	if err != nil {
		t.Fatal(err)
	}
	verifier := func(requirement string) string {
		return `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication providers: {p: {issuer: i, forward: true, local_jwks: {inline_string: ` + string(keys) +
			`}, from_headers: [{name: authorization, value_prefix: "Bearer "}, {name: x-token}], claim_to_headers: [{header_name: x-user, claim_name: sub}]}}, rules: [{match: {prefix: /}, requires: ` + requirement + `}]`
	}
	envoytest.Start(t, static(backend.Port, listener(required, corsFilter, verifier(`{provider_name: p}`)),
		listener(optional, verifier(`{requires_any: {requirements: [{provider_name: p}, {allow_missing: {}}]}}`))))
	exp := fmt.Sprintf(`"iss":"i","exp":%d`, time.Now().Add(time.Hour).Unix())
	sign := func(header, payload string) string {
		text := segment(header) + "." + segment(payload)
		return text + "." + segment(string(ed25519.Sign(private, []byte(text))))
	}
	rs := func(payload string) string {
		text := segment(`{"alg":"RS256","kid":"r"}`) + "." + segment(payload)
		sum := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(rand.Reader, weak, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return text + "." + segment(string(signature))
	}
	hs := func(payload string) string {
		text := segment(`{"alg":"HS256","kid":"h"}`) + "." + segment(payload)
		mac := hmac.New(sha256.New, []byte("short"))
		_, _ = mac.Write([]byte(text))
		return text + "." + segment(string(mac.Sum(nil)))
	}
	const header = `{"alg":"EdDSA","kid":"e"}`
	good, other := sign(header, `{"sub":"carol",`+exp+`}`), sign(header, `{"sub":"dave",`+exp+`}`)
	bearer := func(token string) []string { return []string{"Authorization: Bearer " + token} }
	for name, c := range map[string]struct {
		port   int
		header []string
		status int
		user   []string // what the backend gets as x-user
	}{
		"a good one":                {required, bearer(good), 200, []string{"carol"}},
		"a header of the client's":  {required, append(bearer(good), "x-user: root"), 200, []string{"carol"}},
		"no token, a forged header": {optional, []string{"x-user: root"}, 200, []string{}},
		"an invalid one":            {optional, bearer("x.y.z"), 401, nil},
		"a claim twice":             {required, bearer(sign(header, `{"sub":"carol","sub":"root",`+exp+`}`)), 401, nil},
		"no exp":                    {required, bearer(sign(header, `{"sub":"carol","iss":"i"}`)), 200, []string{"carol"}},
		"crit":                      {required, bearer(sign(`{"alg":"EdDSA","kid":"e","crit":["x"],"x":1}`, `{"sub":"carol",`+exp+`}`)), 200, []string{"carol"}},
		"a key of 1,024 bits":       {required, bearer(rs(`{"sub":"carol",` + exp + `}`)), 200, []string{"carol"}},
		"a secret of 5 bytes":       {required, bearer(hs(`{"sub":"carol",` + exp + `}`)), 200, []string{"carol"}},
		"tokens of two callers":     {required, append(bearer(good), "x-token: "+other), 200, []string{"dave", "carol"}},
		"a bad token beside it":     {required, append(bearer(good), "x-token: x.y.z"), 401, nil},
		"two lines":                 {required, append(bearer(good), bearer(other)...), 401, nil},
		"a padded signature":        {required, bearer(good + "="), 401, nil},
		"a payload that isn't JSON": {required, bearer(sign(header, "x")), 401, nil},
		"a blank in the payload":    {required, bearer(strings.Replace(good, ".", ". ", 1)), 401, nil},
		"none":                      {required, nil, 401, nil},
	} {
		a := gatewaytest.Get(t, fmt.Sprintf("http://127.0.0.1:%d/", c.port), append(c.header, page)...)
		if a.Status != c.status || a.Status == http.StatusUnauthorized && !strings.HasPrefix(a.Body, "Jwt ") {
			t.Errorf("%s: %d %s", name, a.Status, a.Body) // the answer says which check failed
		}
		if a.Status == http.StatusOK && c.user != nil && strings.Join(a.Seen.Header.Values("x-user"), "|") != strings.Join(c.user, "|") {
			t.Errorf("%s: x-user %q", name, a.Seen.Header.Values("x-user"))
		}
	}
	a := gatewaytest.Get(t, fmt.Sprintf("http://127.0.0.1:%d/", optional), "x_user: root")
	if _, there := a.Seen.Header["X_user"]; a.Status != http.StatusOK || !there {
		t.Errorf("a forged header with underscore: %d %v", a.Status, a.Seen.Header)
	}
}

// TestEnvoyDecidesOnceWhichFiltersRun: one that only the route enables to which a request has moved meanwhile
// doesn't run.
func TestEnvoyDecidesOnceWhichFiltersRun(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), envoytest.FreePort(t)
	text := listener(port, `envoy.extensions.filters.http.lua.v3.Lua default_source_code: {inline_string: "function envoy_on_request(h) if h:headers():get('x-move') then h:headers():replace('x-role', 'admin') end end"}`, basicFilter)
	text = strings.Replace(text, "- {name: envoy.extensions.filters.http.basic_auth", "- {disabled: true, name: envoy.extensions.filters.http.basic_auth", 1)
	text = strings.Replace(text, `routes: [`, `routes: [{match: {prefix: "/", headers: [{name: x-role, string_match: {exact: admin}}]}, route: {cluster: backend}, typed_per_filter_config: {envoy.extensions.filters.http.basic_auth.v3.BasicAuth: {"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig, config: {}}}}, `, 1)
	envoytest.Start(t, static(backend.Port, text))
	for header, want := range map[string]int{"x-role: admin": 401, "x-move: yes": 200, "x-none: x": 200} {
		a := gatewaytest.Get(t, fmt.Sprintf("http://127.0.0.1:%d/", port), header)
		if a.Status != want || header == "x-move: yes" && a.Seen.Header.Get("x-role") != "admin" {
			t.Errorf("%s: %d %v", header, a.Status, a.Seen.Header)
		}
	}
}
