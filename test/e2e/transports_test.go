package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// outcome is what client and backend see of a request, as far as the policy has a say in it.
type outcome struct {
	Status int
	Seen   string // headers of the request at the backend, "" where it arrived at none
	Reply  string // headers of the answer
	// Metadata is what a verdict tells the filters behind it, as JSON, but for its seal.
	Metadata string
}

// told are the headers of a request, and answered those of a response, that policies write or remove.
var (
	told     = []string{"authorization", "x-api-key", "x-client", "x-rego", "x-role", "x-user"}
	answered = []string{
		"access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods", "access-control-allow-origin",
		"access-control-expose-headers", "access-control-max-age", "vary", "www-authenticate", "x-decided",
	}
)

func pick(names []string, values func(string) []string) string {
	var out []string
	for _, name := range names {
		all := values(name)
		if name == "vary" { // every hop adds to it
			all = slices.Compact(slices.Sorted(slices.Values(all)))
		}
		if name == "authorization" && len(all) > 1 { // Envoy joins its lines
			all = []string{strings.Join(all, ",")}
		}
		for _, value := range all {
			out = append(out, name+"="+value)
		}
	}
	return strings.Join(out, " ")
}

// trial is one request of the table.
type trial struct {
	policy, method string
	header         []string
}

// transportPolicies are the methods, and what they say to each credential: a status and what the backend is told of the caller.
// A credential that isn't named is what "*" says, else a 401.
func transportPolicies(issuer *gatewaytest.Issuer) map[string]struct {
	spec string
	want map[string]string
} {
	jwt := jwtSpec(issuer, "      claimToHeaders: [{claim: sub, header: x-user}, {claim: role, header: x-role}]")
	const basic = "  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}"
	key := strings.Replace(keySpec, "x-api-key, authorization", "x-api-key", 1)
	type m = map[string]string
	// Nobody listens there.
	unreachable := strings.Replace(jwt, "localJWKS: {type: Inline, inline: '"+issuer.JWKS()+"'}", "remoteJWKS: {uri: 'http://127.0.0.1:1/jwks', allowPrivateAddresses: true}", 1)
	return map[string]struct {
		spec string
		want map[string]string
	}{
		"basic":    {basic, m{"password": "200 x-user=alice", "password and forged": "200 x-user=alice", "password and key": "200 x-user=alice"}},
		"jwt":      {jwt, m{"token": "200 x-role=user x-user=bob", "admin": "200 x-role=admin x-user=root", "token and forged": "200 x-role=user x-user=bob"}},
		"key":      {key, m{"key": "200 x-client=ci", "password and key": "200 x-client=ci"}},
		"any":      {"  authMode: Any\n" + basic + "\n" + jwt, m{"password": "200 x-user=alice", "token": "200 x-role=user x-user=bob", "admin": "200 x-role=admin x-user=root", "password and forged": "200 x-user=alice", "token and forged": "200 x-role=user x-user=bob", "password and key": "200 x-user=alice"}},
		"all":      {basic + "\n" + key, m{"password and key": "200 x-client=ci x-user=alice"}},
		"optional": {strings.Replace(jwt, "  jwt:\n", "  jwt:\n    optional: true\n", 1), m{"none": "200", "password": "200", "wrong password": "200", "malformed password": "200", "key": "200", "wrong key": "200", "forged": "200", "password and forged": "200", "password and key": "200", "token": "200 x-role=user x-user=bob", "admin": "200 x-role=admin x-user=root", "token and forged": "200 x-role=user x-user=bob"}},
		"rules": {jwt + `
  authorization: {rules: [{action: Allow, principal: {jwt: {provider: idp, claims: [{name: role, values: [admin]}]}}}]}`,
			m{"token": "403", "admin": "200 x-role=admin x-user=root", "token and forged": "403"}},
		"cel": {jwt + `
  authorization: {rules: [{action: Allow, cel: "identity.claims.role == 'admin' && request.headers['x-user'] == 'root' && source.address.startsWith('127.0.0.1:')"}]}`,
			m{"token": "403", "admin": "200 x-role=admin x-user=root", "token and forged": "403"}},
		"rego": {basic + `
  opa:
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        allow := {"allowed": true, "headers": {"x-rego": input.identity.username}, "response_headers_to_add": {"x-decided": "by rego"}, "request_headers_to_remove": ["authorization"]} if input.attributes.request.http.method == "GET"
        allow := {"allowed": false, "http_status": 418, "body": "short and stout", "headers": {"x-decided": "no"}} if input.attributes.request.http.method != "GET"`,
			m{"password": "200 x-rego=alice x-user=alice", "password and forged": "200 x-rego=alice x-user=alice", "password and key": "200 x-rego=alice x-user=alice"}},
		"dry":    {"  dryRun: true\n" + basic, m{"password": "200 x-user=alice", "none": "200", "wrong password": "200", "malformed password": "200", "malformed token": "200", "token": "200", "admin": "200", "expired": "200", "signature": "200", "key": "200", "wrong key": "200", "forged": "200", "two": "200", "password and forged": "200 x-user=alice", "token and forged": "200", "password and key": "200 x-user=alice"}},
		"none":   {"  authorization: {defaultAction: Allow}", m{"*": "200"}},
		"open":   {strings.Replace(unreachable, "  jwt:\n", "  jwt:\n    failOpen: true\n", 1), m{"token": "200", "admin": "200", "signature": "200", "token and forged": "200"}},
		"closed": {unreachable, m{"token": "503", "admin": "503", "signature": "503", "token and forged": "503"}},
		"meta": {jwt + `
  opa:
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        allow := {"allowed": input.identity.claims.role == "user", "headers": {"x-rego": input.identity.claims.role}, "dynamic_metadata": {"score": 7, "tags": ["a", {"b": null}], "idp": "forged"}}`,
			m{"token": "200 x-rego=user x-role=user x-user=bob", "admin": "403", "token and forged": "200 x-rego=user x-role=user x-user=bob"}},
		"broken": {"  basicAuth: {users: {name: nobody}}", m{"*": "503"}},
	}
}

// transportStates are the credentials of a request.
func transportStates(t *testing.T, issuer *gatewaytest.Issuer) map[string][]string {
	t.Helper()
	bearer := func(claims map[string]any) string { return "Authorization: Bearer " + issuer.Token(t, claims) }
	token, other := bearer(map[string]any{"sub": "bob", "role": "user"}), gatewaytest.NewIssuer(t, issuer.URL)
	forged := []string{"x-user: root", "x-role: admin", "x-client: root"}
	return map[string][]string{
		"none": nil, "password": {basicAlice}, "wrong password": {"Authorization: Basic YWxpY2U6d3Jvbmc="},
		"token": {token}, "admin": {bearer(map[string]any{"sub": "root", "role": "admin"})}, "expired": {bearer(map[string]any{"sub": "bob", "exp": 1})},
		"signature": {"Authorization: Bearer " + other.Token(t, map[string]any{"sub": "bob"})},
		"key":       {"x-api-key: key-of-ci"}, "wrong key": {"x-api-key: nobody's"}, "forged": forged,
		"password and forged": append([]string{basicAlice}, forged...), "token and forged": append([]string{token}, forged...),
		"malformed token": {"Authorization: Bearer e30.e30"}, "malformed password": {"Authorization: Basic YWxpY2U6cGFzc3dvcmQ"},
		"two": {basicAlice, token}, "password and key": {basicAlice, "x-api-key: key-of-ci"},
	}
}

// transportOrigins are the ways in which a browser comes.
var transportOrigins = map[string]struct {
	method string
	header []string
}{
	"no origin":         {http.MethodGet, nil},
	"origin":            {http.MethodGet, []string{origin}},
	"other origin":      {http.MethodGet, []string{"Origin: https://evil.example"}},
	"post":              {http.MethodPost, []string{origin}},
	"preflight":         {http.MethodOptions, []string{origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization"}},
	"refused preflight": {http.MethodOptions, []string{"Origin: https://evil.example", "Access-Control-Request-Method: GET"}},
	"plain OPTIONS":     {http.MethodOptions, []string{origin}},
}

// TestOneTableForBothTransports: every method with every credential and every kind of origin comes out the
// same in process, by ext_authz and by ext_proc, with and without Envoy.
func TestOneTableForBothTransports(t *testing.T) {
	t.Parallel()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	policies, states := transportPolicies(issuer), transportStates(t, issuer)
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := []string{gatewayManifest(port), backendManifest("b", backend.Port), usersManifest, keysManifest, metadataShower(t)}
	for name, p := range policies {
		for _, enforcement := range []string{"ExtAuthz", "ExtProc"} {
			route := name + strings.ToLower(enforcement)
			manifests = append(manifests, routeManifest(route, prefix("/"+route), "b"), policyManifest(route, p.spec+corsSpec+"\n  enforcement: "+enforcement), showingMetadata(route))
		}
	}
	engines := newEngines(t, strings.Join(manifests, "\n---\n"))
	gatewaytest.Start(t, all(manifests...))
	trials := 0
	for i, name := range slices.Sorted(maps.Keys(policies)) {
		for j, state := range slices.Sorted(maps.Keys(states)) {
			for k, browser := range slices.Sorted(maps.Keys(transportOrigins)) {
				if testing.Short() && (i+j+k)%3 != 0 { // every pair is there still
					continue
				}
				trials++
				p, credential, o := policies[name], states[state], transportOrigins[browser]
				one := trial{policy: name + "extauthz", method: o.method, header: slices.Concat(credential, o.header)}
				want := engines.direct(t, one)
				if complaint := expected(name, p.spec, browser, cmp.Or(p.want[state], p.want["*"]), want); complaint != "" {
					t.Errorf("%s, %s, %s: %+v: %s", name, state, browser, want, complaint)
				}
				if got := engines.extAuthz(t, one); got != want {
					t.Errorf("%s, %s, %s by ext_authz in process:\n%+v, want\n%+v", name, state, browser, got, want)
				}
				// The emulated filter is the dear one: it sees every pair, not every triple.
				if (i+j+k)%3 == 0 {
					if got := engines.extProc(t, one); got != want {
						t.Errorf("%s, %s, %s by ext_proc in process:\n%+v, want\n%+v", name, state, browser, got, want)
					}
				}
				for _, route := range []string{name + "extauthz", name + "extproc"} {
					one.policy = route
					if got := throughEnvoy(t, port, one); got != want {
						t.Errorf("%s, %s, %s through Envoy as %s:\n%+v, want\n%+v", name, state, browser, route, got, want)
					}
				}
			}
		}
	}
	t.Logf("%d requests on five ways", trials)
}

// expected says what is wrong with an outcome by the table's own words.
func expected(policy, spec, browser, want string, got outcome) string {
	status, seen, _ := strings.Cut(want, " ")
	switch {
	case status == "":
		status = "401"
	case policy == "rego" && (browser == "post" || browser == "plain OPTIONS"):
		status = "418"
	}
	switch browser {
	case "preflight":
		status = "204"
	case "refused preflight":
		status = "403"
	}
	if fmt.Sprint(got.Status) != status {
		return "the status should be " + status
	}
	if status != "200" {
		if got.Seen != "" {
			return "it should not reach the backend"
		}
	} else if identity := strings.Join(slices.DeleteFunc(strings.Fields(got.Seen), func(field string) bool {
		name, _, _ := strings.Cut(field, "=")
		return name == "-" || name == "authorization" || name == "x-api-key" || !strings.Contains(spec, name)
	}), " "); identity != seen {
		return "the backend should see " + seen
	}
	allowed := browser == "origin" || browser == "post" || browser == "preflight" || browser == "plain OPTIONS"
	if strings.Contains(got.Reply, "access-control-allow-origin=https://app.example") != allowed {
		return "wrong about Access-Control-Allow-Origin"
	}
	if strings.Contains(got.Reply, "www-authenticate=") != (status == "401") {
		return "wrong about WWW-Authenticate"
	}
	if strings.Contains(got.Seen, "x-rego=user") && !tellsBob(got.Metadata) {
		return "the metadata should be the token's claims and what Rego adds"
	}
	return ""
}

// tellsBob reports whether a verdict's metadata is the claims of bob's token and what the policy meta adds.
func tellsBob(metadata string) bool {
	var all struct {
		IDP   map[string]any `json:"idp"`
		Score float64        `json:"score"`
		Tags  []any          `json:"tags"`
	}
	err := json.Unmarshal([]byte(metadata), &all)
	return err == nil && all.IDP["sub"] == "bob" && all.IDP["role"] == "user" && all.Score == 7 && len(all.Tags) == 2
}

func throughEnvoy(t *testing.T, port int, one trial) outcome {
	t.Helper()
	a := gatewaytest.Send(t, one.method, at(port, "/"+one.policy), one.header...)
	// The realm is the policy's name.
	out := outcome{Status: a.Status, Reply: strings.ReplaceAll(pick(answered, a.Header.Values), "extproc", "extauthz")}
	if a.Seen.Backend != "" {
		out.Seen, out.Metadata = "- "+pick(told, a.Seen.Header.Values), a.Seen.Header.Get("x-metadata")
	}
	return out
}
