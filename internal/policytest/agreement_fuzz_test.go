package policytest_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/internal/policytest"
	"github.com/gatehouse-proxy/gatehouse/internal/verdict"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// FuzzTransportsAgree: whatever a client sends, a policy says and does the same about it, be it called in process, asked
// by ext_authz or asked by ext_proc.
func FuzzTransportsAgree(f *testing.F) {
	policies := agreeing(f)
	over := map[string]func(exchange.Authorizer) exchange.Authorizer{}
	for _, transport := range []string{policytest.ExtAuthz, policytest.ExtProc} {
		wrap, stop, err := policytest.Over(transport)
		if err != nil {
			f.Fatal(err)
		}
		defer stop()
		over[transport] = wrap
	}
	token := signedToken()
	for i := range policies {
		which := uint8(i)
		f.Add(which, "GET", "/", "shop.example", "", "192.0.2.1", "")
		f.Add(which, "POST", "/a/b;c=1/%2e%2e/d?key=k1&token="+token, "shop.example:8443", "authorization: Basic YWxpY2U6c2VjcmV0\norigin: https://app.example", "10.1.2.3", `{"a": [1, "x"]}`)
		f.Add(which, "OPTIONS", "/a", "shop.example", "origin: https://app.example\naccess-control-request-method: PUT", "::1", "")
		f.Add(which, "GET", "/a?key=k2", "SHOP.example.", "authorization: Bearer "+token+"\nx-user: eve\nx_user: eve\nx-client: c\ncookie: token=a; key=k1", "10.0.0.1", "")
		f.Add(which, "GET", "/a", "shop.example", "authorization: bearer "+token+"\nx-api-key: k1\nconnection: x-user\nx-note: \xff\xfe", "not an address", "")
		f.Add(which, "PUT", "//a/./b/", "shop.example", "x-role: admin\nx-role: user, admin\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "192.0.2.1", "\xff\x00")
	}
	f.Fuzz(func(t *testing.T, which uint8, method, path, authority, lines, client, body string) {
		request := requestOf(method, path, authority, lines, client, body)
		if request == nil {
			t.Skip("not a request that Envoy passes on")
		}
		p := policies[int(which)%len(policies)]
		called := consequenceOf(t, p, request())
		for transport, wrap := range over {
			if got := consequenceOf(t, wrap(p), request()); !reflect.DeepEqual(got, called) {
				t.Errorf("by %s: %+v\ncalled:  %+v", transport, got, called)
			}
		}
	})
}

// agreeing are policies that use each method, each stage and each kind of edit.
func agreeing(tb testing.TB) []*policy.Policy {
	tb.Helper()
	secret := func(text string) config.Source { return config.Source{Inline: text} }
	keys := secret(`{"keys": [` + publicKey() + `]}`)
	cors := &config.CORS{AllowOrigins: []string{"https://app.example", "https://*.example"}, AllowMethods: []string{"GET", "PUT"}, ExposeHeaders: []string{"x-a"}, AllowCredentials: true}
	basic := &config.BasicAuth{Users: secret("alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n"), Realm: "r", ForwardUsernameHeader: "x-user"}
	jwt := func(optional bool) *config.JWT {
		return &config.JWT{Optional: optional, Providers: []config.JWTProvider{{
			Name: "idp", Issuer: "idp", LocalJWKS: &keys, RecomputeRoute: true, ClaimToHeaders: []config.ClaimToHeader{{Claim: "sub", Header: "x-user"}, {Claim: "n", Header: "x_n"}},
			ExtractFrom: &config.ExtractFrom{Headers: []config.ExtractHeader{{Name: "authorization", ValuePrefix: "Bearer "}}, Cookies: []string{"token"}, Params: []string{"token"}},
		}}}
	}
	key := func(sanitize bool) *config.APIKey {
		return &config.APIKey{
			Credentials: []config.Source{secret(`{"c1": "azE=", "c2": "azI="}`)}, ForwardClientIDHeader: "x-client", Sanitize: sanitize,
			Places: []config.KeyPlace{{Kind: "Header", Name: "x-api-key"}, {Kind: "Cookie", Name: "key"}, {Kind: "Param", Name: "key"}},
		}
	}
	rego := func(text string) *config.OPA {
		return &config.OPA{Modules: []config.Module{{Name: "p.rego", Source: secret("package envoy.authz\n" + text)}}}
	}
	reading := rego(`
default allow := {"allowed": false, "http_status": 402, "body": "pay", "headers": {"x-why": "money"}}
allow := {"allowed": true, "headers": {"x-seen": input.attributes.request.http.path, "x-user": "rego"}, "request_headers_to_remove": ["x-note"],
	"response_headers_to_add": {"x-length": sprintf("%d", [count(input.attributes.request.http.headers)])},
	"dynamic_metadata": {"host": input.attributes.request.http.host, "body": input.parsed_body}} if input.attributes.request.http.method != "DELETE"`)
	reading.BodyMaxBytes = 1 << 10
	var all []*policy.Policy
	for _, spec := range []*config.Policy{
		{BasicAuth: basic, CORS: cors},
		{JWT: jwt(false), CORS: cors},
		{JWT: jwt(true), OPA: rego(`default allow := false` + "\n" + `allow if not input.identity.claims.n`)},
		{Mode: config.Any, BasicAuth: basic, JWT: jwt(false), APIKey: key(true), Strip: []string{"x-role"}},
		{APIKey: key(false), DryRun: true},
		{Authorization: &config.Authorization{Rules: []config.Rule{
			{Name: "no", Path: &config.PathMatch{Type: "PathPrefix", Value: "/a/b"}, Methods: []string{"PUT"}},
			{Name: "near", Allow: true, ClientCIDRs: []string{"10.0.0.0/8", "::1/128"}},
			{Name: "role", Allow: true, Headers: []config.HeaderMatch{{Name: "x-role", Values: []string{"admin"}}}},
			{Name: "cel", Allow: true, CEL: `request.path.startsWith("/d") && request.host != "" && request.headers["x-note"] == "y"`},
		}}, CORS: cors},
		{OPA: reading, CORS: cors},
		{OPA: rego(`default allow := false` + "\n" + `allow if { input.parsed_path[0] == "a"; input.attributes.request.http.headers["x-role"] == "admin" }`)},
	} {
		spec.Name = "team/" + strconv.Itoa(len(all))
		p, err := policy.Compile(spec, policy.Deps{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			tb.Fatal(spec.Name, err)
		}
		tb.Cleanup(p.Close)
		all = append(all, p)
	}
	return all
}

// The key is the same in each run, so that what a run has found is worth something to the next.
var signingKey = ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, all!"))

func publicKey() string {
	return `{"kty": "OKP", "crv": "Ed25519", "x": "` + base64.RawURLEncoding.EncodeToString(signingKey[32:]) + `"}`
}

func signedToken() string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"idp","sub":"carol","n":7}`))
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(signingKey, []byte(signed)))
}

// requestOf returns what makes a request of its parts, nil where Envoy would have answered 400 by itself. Framing is
// Envoy's: the body is whole, and its length is said.
func requestOf(method, path, authority, lines, client, body string) func() *exchange.Request {
	printable := func(s string) bool {
		return s != "" && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
	}
	if !exchange.IsToken(method) || !printable(path) || path[0] != '/' || !printable(authority) {
		return nil
	}
	var fields []exchange.Field
	for line := range strings.Lines(lines) {
		name, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		if !found || !exchange.IsToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			return nil
		}
		name = strings.ToLower(name)
		if framing := []string{"host", "content-length", "transfer-encoding"}; slices.Contains(framing, name) || strings.HasPrefix(name, "x-envoy-") || strings.HasPrefix(name, "x-gatehouse-") {
			return nil
		}
		fields = append(fields, exchange.Field{Name: name, Value: strings.Trim(value, " \t")})
	}
	if body != "" {
		fields = append(fields, exchange.Field{Name: "content-length", Value: strconv.Itoa(len(body))})
	}
	address, _ := netip.ParseAddr(client)
	conn := exchange.Conn{Peer: netip.MustParseAddrPort("192.0.2.200:4711"), Destination: netip.MustParseAddrPort("192.0.2.100:443"), Client: address}
	head := exchange.Head{Method: method, Authority: authority, Scheme: "https", Path: path, Protocol: "HTTP/1.1", Size: int64(len(body))}
	return func() *exchange.Request {
		return exchange.NewRequest(head, conn, exchange.NewHeader(slices.Clone(fields)...), exchange.BufferedBody([]byte(body), false), detected{})
	}
}

// detected is how a route says that its listener looks for the client's address.
type detected struct{}

func (detected) Extension(key string) (string, bool) {
	return "header", key == extauthz.ClientAddressKey
}

func (detected) Extensions(yield func(key, value string) bool) {
	yield(extauthz.ClientAddressKey, "header")
}

// consequence is what comes of a verdict: what the backend gets, or what the client does.
type consequence struct {
	allow            bool
	upstream, answer http.Header
	status           int
	body, metadata   string
}

func consequenceOf(t *testing.T, a exchange.Authorizer, r *exchange.Request) (c consequence) {
	t.Helper()
	v, err := a.Check(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if verdict.Check(&v) != nil {
		v = verdict.Failed(exchange.ReasonUnsendable)
	}
	c.allow = v.Allow
	if len(v.Metadata) > 0 {
		text, err := json.Marshal(v.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		c.metadata = string(text)
	}
	if !v.Allow {
		c.status, c.answer, c.body = v.Reply.Status(), http.Header{}, string(v.Reply.Body)
		for name, values := range v.Reply.Header {
			for _, value := range values {
				c.answer.Add(name, value)
			}
		}
		return c
	}
	// To have the route chosen again, ext_proc must set the path, be it to what it was.
	c.upstream, c.answer = http.Header{":path": {r.Path()}}, http.Header{}
	for name, value := range r.Header.All() {
		c.upstream[name] = append(c.upstream[name], value)
	}
	edit(c.upstream, &v)
	for field, add := range verdict.ResponseLines(v.ResponseSet) {
		if !add {
			c.answer.Del(field.Name)
		}
		c.answer.Add(field.Name, field.Value)
	}
	return c
}

// edit is what Envoy does with a verdict: it removes last. Names keep their spelling: x_user isn't X-User.
func edit(header http.Header, v *exchange.Verdict) {
	for i, f := range v.Set {
		name := strings.ToLower(f.Name)
		if !verdict.Named(v.Set[:i], name) {
			delete(header, name)
		}
		header[name] = append(header[name], f.Value)
	}
	for _, f := range v.Add {
		name := strings.ToLower(f.Name)
		header[name] = append(header[name], f.Value)
	}
	for _, name := range v.Remove {
		delete(header, strings.ToLower(name))
	}
	delete(header, extauthz.RecomputeHeader)
}
