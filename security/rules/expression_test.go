package rules_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
	"github.com/gatehouse-proxy/gatehouse/security/rules"
)

// A condition that is true allows and denies; one whose value can't be known denies and doesn't allow.
func TestExpressions(t *testing.T) {
	t.Parallel()
	tokenHolder := caller(t, `{"sub":"alice","role":"admin","level":7,"id":9007199254740993,"ratio":0.5,"roles":["a","b"],"https://x/y":{"z":true},"none":null}`)
	basic := &identity.Identity{Method: identity.Basic, Username: "bob"}
	type want struct{ allows, denies bool }
	matches, fails, unknown := want{true, true}, want{}, want{false, true}
	for name, c := range map[string]struct {
		expression string
		caller     *identity.Identity
		want       want
	}{
		"constant":                        {"true", nil, matches},
		"method":                          {"request.method == 'GET'", nil, matches},
		"another method":                  {"request.method == 'PUT'", nil, fails},
		"path with query":                 {"request.path == '/api/x?a=b&c'", nil, matches},
		"path without":                    {"request.url_path == '/api/x'", nil, matches},
		"query":                           {"request.query == 'a=b&c'", nil, matches},
		"host":                            {"request.host == 'shop.example'", nil, matches},
		"scheme":                          {"request.scheme == 'https'", nil, matches},
		"protocol":                        {"request.protocol == 'HTTP/2'", nil, matches},
		"time":                            {"request.time < timestamp('2100-01-01T00:00:00Z')", nil, matches},
		"size":                            {"request.size <= 10", nil, matches},
		"id":                              {"request.id == 'r-1'", nil, matches},
		"header":                          {"request.headers['x-team'] == 'a'", nil, matches},
		"header, any case":                {"request.headers['X-Team'] == 'a'", nil, matches},
		"header as a field":               {"request.headers.accept.contains('json')", nil, matches},
		"user agent with commas":          {"request.useragent.startsWith('Mozilla')", nil, matches},
		"pseudo-headers":                  {"request.headers[':path'] == '/api/x?a=b&c' && request.headers[':method'] == 'GET' && request.headers['host'] == 'shop.example'", nil, matches},
		"header that is there":            {"'x-team' in request.headers && has(request.headers.accept)", nil, matches},
		"header that isn't":               {"'x-other' in request.headers", nil, fails},
		"value of one that isn't":         {"request.headers['x-other'] == 'a'", nil, unknown},
		"all headers":                     {"request.headers.exists(name, name.startsWith('x-t') && request.headers[name] == 'a')", nil, matches},
		"number of headers":               {"size(request.headers) == 7", nil, matches},
		"our own headers":                 {"'x-gatehouse-client-ip' in request.headers", nil, fails},
		"client":                          {"source.address.startsWith('192.0.2.7:') && source.port == 0", nil, matches},
		"destination":                     {"destination.address == '[2001:db8::1]:443' && destination.port == 443", nil, matches},
		"client certificate":              {"connection.mtls", nil, fails},
		"server name":                     {"connection.requested_server_name == 'shop.example'", nil, matches},
		"strings":                         {"request.host.upperAscii().split('.')[0] == 'SHOP'", nil, matches},
		"expression":                      {"request.url_path.matches('^/api/[a-z]+$')", nil, matches},
		"claim":                           {"identity.claims.role == 'admin'", tokenHolder, matches},
		"claim by index":                  {"identity.claims['https://x/y'].z", tokenHolder, matches},
		"claim that is a number":          {"identity.claims.level > 5 && identity.claims.ratio < 1", tokenHolder, matches},
		"large number isn't rounded":      {"identity.claims.id == 9007199254740993 && identity.claims.id != 9007199254740992", tokenHolder, matches},
		"claim that is a list":            {"'b' in identity.claims.roles", tokenHolder, matches},
		"claim that is null":              {"identity.claims.none == null", tokenHolder, matches},
		"claim that isn't there":          {"identity.claims.other == 'x'", tokenHolder, unknown},
		"has a claim":                     {"has(identity.claims.role) && !has(identity.claims.other)", tokenHolder, matches},
		"method of authentication":        {"identity.method == 'jwt' && identity.provider == 'idp'", tokenHolder, matches},
		"where Envoy has claims":          {"metadata.filter_metadata['envoy.filters.http.jwt_authn']['idp']['role'] == 'admin'", tokenHolder, matches},
		"S28 claim, anonymous":            {"identity.claims.role == 'admin'", nil, unknown},
		"S28 claim, by password":          {"identity.claims.role == 'admin'", basic, unknown},
		"S28 Envoy's claims, anonymous":   {"metadata.filter_metadata['envoy.filters.http.jwt_authn']['idp']['role'] == 'admin'", nil, unknown},
		"user":                            {"identity.username == 'bob'", basic, matches},
		"user, anonymous":                 {"identity.username == 'bob'", nil, unknown},
		"anonymous":                       {"identity.method == ''", nil, matches},
		"S39 not a boolean":               {"identity.claims.role", tokenHolder, unknown},
		"S39 division by zero":            {"1 / (request.size - 7) == 1", nil, unknown},
		"S39 error that doesn't matter":   {"request.method == 'GET' || request.headers['x-other'] == 'a'", nil, matches},
		"S39 error that doesn't matter '": {"request.headers['x-other'] == 'a' && request.method == 'PUT'", nil, fails},
		"S39 negated error":               {"!(request.headers['x-other'] == 'a')", nil, unknown},
		"S43 dear":                        {"[1,2,3,4,5,6,7,8].all(a, [1,2,3,4,5,6,7,8].all(b, [1,2,3,4,5,6,7,8].all(c, [1,2,3,4,5,6,7,8].all(d, [1,2,3,4,5,6,7,8].all(e, a+b+c+d+e > 0)))))", nil, unknown},
	} {
		head := exchange.Head{Method: "GET", Path: "/api/x?a=b&c", Authority: "shop.example", Scheme: "https", Protocol: "HTTP/2", ID: "r-1", Size: 7, Time: time.Now()}
		conn := exchange.Conn{
			Client: netip.MustParseAddr("192.0.2.7"), Peer: netip.MustParseAddrPort("10.0.0.1:1234"),
			Destination: netip.MustParseAddrPort("[2001:db8::1]:443"), ServerName: "shop.example",
		}
		header := exchange.NewHeader(exchange.Field{Name: "X-Team", Value: "a"}, exchange.Field{Name: "accept", Value: "application/json"},
			exchange.Field{Name: "user-agent", Value: "Mozilla/5.0 (KHTML, like Gecko)"})
		in := rules.Input{Request: exchange.NewRequest(head, conn, header, exchange.Body{}, nil), Caller: c.caller}
		got := want{
			allows: decide(t, config.Rule{Allow: true, CEL: c.expression}, in, rules.Options{}),
			denies: decide(t, config.Rule{CEL: c.expression}, in, rules.Options{}),
		}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Where a request can be read in several ways, all have to be true to allow and any is enough to deny.
func TestExpressionsSeeEveryReadingOfARequest(t *testing.T) {
	t.Parallel()
	many := strings.Split(strings.Repeat("x-team b,", 100), ",")
	var lines []string
	for _, line := range many[:100] {
		name, value, _ := strings.Cut(line, " ")
		lines = append(lines, name, value)
	}
	for name, c := range map[string]struct {
		expression     string
		method, path   string
		host           string
		lines          []string
		allows, denies bool
	}{
		"S12 two lines":                  {expression: "request.headers['x-team'] == 'a'", lines: []string{"x-team", "a", "x-team", "b"}, denies: true},
		"S12 two lines, the other way":   {expression: "request.headers['x-team'] == 'a'", lines: []string{"x-team", "b", "X-TEAM", "a"}, denies: true},
		"S12 joined lines":               {expression: "request.headers['x-team'] == 'a'", lines: []string{"x-team", "b, a"}, denies: true},
		"S12 two lines, both fit":        {expression: "request.headers['x-team'].startsWith('a')", lines: []string{"x-team", "a1", "x-team", "a2"}, allows: true, denies: true},
		"S12 two of two headers":         {expression: "request.headers['x-a'] == '1' && request.headers['x-b'] == '2'", lines: []string{"x-a", "0", "x-a", "1", "x-b", "1", "x-b", "2"}, denies: true},
		"S12 lines nobody reads":         {expression: "request.headers['x-a'] == '1'", lines: []string{"x-a", "1", "x-team", "a", "x-team", "b"}, allows: true, denies: true},
		"S12 too many lines":             {expression: "request.headers['x-team'] == 'a'", lines: lines, denies: true},
		"S12 while going through them":   {expression: "request.headers.exists(n, request.headers[n] == 'a')", lines: []string{"x-team", "b", "x-team", "a"}, denies: true},
		"S16 another spelling":           {expression: "'x-team' in request.headers", lines: []string{"x_team", "a"}, denies: true},
		"S16 its value":                  {expression: "request.headers['x-team'] == 'a'", lines: []string{"x_team", "a"}, denies: true},
		"S16 beside the other":           {expression: "request.headers['x-team'] == 'a'", lines: []string{"x-team", "a", "x_team", "b"}, denies: true},
		"S19 bytes that are no UTF-8":    {expression: "request.headers['x-team'] != 'a'", lines: []string{"x-team", "\xff"}, denies: true},
		"S19 in another header":          {expression: "request.headers['x-a'] == '1'", lines: []string{"x-a", "1", "x-team", "\xff"}, allows: true, denies: true},
		"S3 dot segments":                {expression: "request.path.startsWith('/api')", path: "/api/../admin", denies: true},
		"S3 dot segments, not read":      {expression: "request.method == 'GET'", path: "/api/../admin", allows: true, denies: true},
		"S3 escapes":                     {expression: "request.path.startsWith('/admin')", path: "/%61dmin", denies: true},
		"S3 escapes in the pseudo":       {expression: "request.headers[':path'].startsWith('/admin')", path: "/%61dmin", denies: true},
		"S4 parameters":                  {expression: "request.url_path == '/admin'", path: "/admin;x", denies: true},
		"S1 slashes that repeat":         {expression: "request.url_path == '/admin'", path: "//admin", denies: true},
		"S6 the query isn't the path":    {expression: "request.url_path.endsWith('.css')", path: "/admin?.css"},
		"S9 letters of a host":           {expression: "request.host == 'admin.example'", host: "Admin.Example", denies: true},
		"S9 port of a host":              {expression: "request.host == 'admin.example'", host: "admin.example:8080", denies: true},
		"S9 dot of a host":               {expression: "request.host == 'admin.example'", host: "admin.example.", denies: true},
		"S9 port that is asked for":      {expression: "request.host == 'admin.example:8080'", host: "admin.example:8080", allows: true, denies: true},
		"method in other letters":        {expression: "request.method == 'POST'", method: "post", denies: true},
		"S10 an expression needs anchor": {expression: "request.url_path.matches('/public/.*')", path: "/x/public/y", allows: true, denies: true},
	} {
		plain := requestOf("GET", "/", c.lines...)
		head := exchange.Head{Method: "GET", Path: "/", Authority: c.host}
		if c.method != "" {
			head.Method = c.method
		}
		if c.path != "" {
			head.Path = c.path
		}
		in := rules.Input{Request: exchange.NewRequest(head, exchange.Conn{}, plain.Header, exchange.Body{}, nil)}
		if got := decide(t, config.Rule{Allow: true, CEL: c.expression}, in, rules.Options{}); got != c.allows {
			t.Errorf("%s: allows %v", name, got)
		}
		if got := decide(t, config.Rule{CEL: c.expression}, in, rules.Options{}); got != c.denies {
			t.Errorf("%s: denies %v", name, got)
		}
	}
}

func TestS14ExpressionsSeeIdentityHeadersAsTheUpstreamWill(t *testing.T) {
	t.Parallel()
	options := rules.Options{Owned: func(name string) bool { return strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "x-role") }}
	rule := config.Rule{Allow: true, CEL: "request.headers['x-role'] == 'admin'"}
	in := rules.Input{Request: requestOf("GET", "/", "x-role", "admin", "x_role", "admin")}
	if decide(t, rule, in, options) {
		t.Error("the client's value allows")
	}
	in.Set = []exchange.Field{{Name: "x-role", Value: "user"}}
	if decide(t, rule, in, options) {
		t.Error("the client's value allows beside the policy's")
	}
	in.Set[0].Value = "admin"
	if !decide(t, rule, in, options) {
		t.Error("the policy's value doesn't allow")
	}
}

func TestExpressionsThatMakeNoSenseDontCompile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ expression, says string }{
		"syntax":                  {"request.method ==", "1:18"},
		"unknown attribute":       {"request.methud == 'GET'", "undeclared"},
		"response":                {"response.code == 200", "undeclared"},
		"types":                   {"request.method == 1", "no matching overload"},
		"not a condition":         {"request.method", "true or false"},
		"unknown function":        {"request.method.foo()", "undeclared"},
		"bad regular expression":  {"request.method.matches('(')", "regex"},
		"S43 long":                {"true || '" + strings.Repeat("x", 5000) + "' == ''", "longer"},
		"S43 deep":                {strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500), ""},
		"S44 context extensions":  {"request.extensions['gatehouse.policy'] == ''", "undeclared"},
		"outside of the language": {"os.system('x')", "undeclared"},
	} {
		_, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{CEL: c.expression}}}, rules.Options{})
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "authorization.rules[0].cel: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestS39ExpressionsWithoutTimeDontAllow(t *testing.T) {
	t.Parallel()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, allow := range []bool{true, false} {
		r, err := rules.Compile(&config.Authorization{DefaultAllow: !allow, Rules: []config.Rule{{Allow: allow, CEL: "true"}}}, rules.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if passed, _ := r.Decide(over, rules.Input{Request: requestOf("GET", "/")}); passed {
			t.Errorf("allow %v: passed", allow)
		}
	}
}

func BenchmarkExpression(b *testing.B) {
	r, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{
		Allow: true, CEL: "request.method == 'GET' && request.url_path.startsWith('/api/') && request.headers['x-team'] in ['a', 'b']",
	}}}, rules.Options{})
	if err != nil {
		b.Fatal(err)
	}
	in := rules.Input{Request: requestOf("GET", "/api/x", "x-team", "b")}
	b.ReportAllocs()
	for b.Loop() {
		if allow, _ := r.Decide(b.Context(), in); !allow {
			b.Fatal("denied")
		}
	}
}
