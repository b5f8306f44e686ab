package rules_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/rules"
)

// decide compiles one rule that allows or denies, with the other action as default, and says whether it
// matched.
func decide(t *testing.T, rule config.Rule, in rules.Input, options rules.Options) bool {
	t.Helper()
	rule.Name = "it"
	r, err := rules.Compile(&config.Authorization{DefaultAllow: !rule.Allow, Rules: []config.Rule{rule}}, options)
	if err != nil {
		t.Fatal(err)
	}
	allow, by := r.Decide(t.Context(), in)
	if (by == "it") != (allow == rule.Allow) {
		t.Errorf("%v by %q", allow, by)
	}
	return by == "it"
}

func requestOf(method, path string, lines ...string) *exchange.Request {
	fields := make([]exchange.Field, 0, len(lines)/2)
	for i := 0; i+1 < len(lines); i += 2 {
		fields = append(fields, exchange.Field{Name: lines[i], Value: lines[i+1]})
	}
	return exchange.NewRequest(exchange.Head{Method: method, Path: path}, exchange.Conn{}, exchange.NewHeader(fields...), exchange.Body{}, nil)
}

// matches says how one path fares with the same comparison in an allow and in a deny rule.
func matches(t *testing.T, match config.PathMatch, path string) (allows, denies bool) {
	t.Helper()
	in := rules.Input{Request: requestOf("GET", path)}
	return decide(t, config.Rule{Allow: true, Path: &match}, in, rules.Options{}), decide(t, config.Rule{Path: &match}, in, rules.Options{})
}

func TestPathRules(t *testing.T) {
	t.Parallel()
	prefix := config.PathMatch{Type: "PathPrefix", Value: "/admin"}
	for _, c := range []struct {
		match          config.PathMatch
		path           string
		allows, denies bool
	}{
		{prefix, "/admin", true, true}, {prefix, "/admin/x", true, true}, {prefix, "/admin/", true, true},
		{prefix, "/administrator", false, false}, {prefix, "/Admin", false, false}, {prefix, "/", false, false}, {prefix, "/x/admin", false, false},
		{config.PathMatch{Type: "PathPrefix", Value: "/admin/"}, "/admin", true, true},
		{config.PathMatch{Type: "PathPrefix", Value: "/"}, "/x", true, true},
		{config.PathMatch{Type: "Exact", Value: "/admin"}, "/admin", true, true},
		{config.PathMatch{Type: "Exact", Value: "/admin"}, "/admin/", false, false},
		{config.PathMatch{Type: "Exact", Value: "/a%20b"}, "/a%20b", true, true},
		{config.PathMatch{Type: "Suffix", Value: ".env"}, "/x/.env", true, true},
		{config.PathMatch{Type: "Suffix", Value: ".env"}, "/x/.env.txt", false, false},
		{config.PathMatch{Type: "RegularExpression", Value: "/a|/b"}, "/a", true, true},
		// S10: both ends, of every alternative.
		{config.PathMatch{Type: "RegularExpression", Value: "/a|/b"}, "/ax", false, false},
		{config.PathMatch{Type: "RegularExpression", Value: "/a|/b"}, "/x/b", false, false},
		{config.PathMatch{Type: "RegularExpression", Value: "/v[0-9]+/.*"}, "/v1/x", true, true},
		{config.PathMatch{Type: "RegularExpression", Value: "/a.b"}, "/a\nb", false, true},
		{config.PathMatch{Type: "PathPrefix", Value: "/public", Invert: true}, "/public/x", false, false},
		{config.PathMatch{Type: "PathPrefix", Value: "/public", Invert: true}, "/other", true, true},
		// S6: the query is never seen.
		{prefix, "/admin?x", true, true}, {prefix, "/x?/admin", false, false}, {config.PathMatch{Type: "Suffix", Value: "x"}, "/admin?x", false, false},
	} {
		if allows, denies := matches(t, c.match, c.path); allows != c.allows || denies != c.denies {
			t.Errorf("%+v %s: allows %v, denies %v", c.match, c.path, allows, denies)
		}
	}
}

// Each path may mean /admin to some server behind the proxy. A deny rule about /admin matches it, an
// allow rule about what it looks like doesn't.
func TestS3S4S5StricterReadingsOnlyDeny(t *testing.T) {
	t.Parallel()
	admin := config.PathMatch{Type: "PathPrefix", Value: "/admin"}
	public, notAdmin := config.PathMatch{Type: "PathPrefix", Value: "/public"}, config.PathMatch{Type: "PathPrefix", Value: "/admin", Invert: true}
	for _, path := range []string{
		"/public/../admin", "/public/%2e%2e/admin", "/public/.%2E/admin", "/public/..;/admin", "/public/..;x=y/admin", "/public/..%3b/admin", "/public/.;/../admin",
		"/public/..%2fadmin", "/public%2F..%2Fadmin", `/public\..\admin`, "/public/..%5Cadmin", "/./admin", "/.;/admin", "/..;/admin",
		"/admin;x=y", "/admin;/x", "/admin%3Bx", "/%61dmin", "//admin", "///admin/x", "/admin//x", "/adm%69n;a/x", "/;/admin",
		"/admin#", "/public#/../admin", "/admin%zz", "/admin%", "/public/\x00", "/public/\xff", "/public/%ff", "/public/%00",
		"", "*", "public", "http://api/admin", "api.example:443",
	} {
		if _, denies := matches(t, admin, path); !denies {
			t.Errorf("a deny rule about /admin misses %q", path)
		}
		if allows, _ := matches(t, public, path); allows {
			t.Errorf("an allow rule about /public takes %q", path)
		}
		if allows, _ := matches(t, notAdmin, path); allows {
			t.Errorf("an allow rule about all but /admin takes %q", path)
		}
	}
	for _, path := range []string{"/public/x;a", "/public/a%20b", "/public/.well-known", "/public/...", "/public/a%25b"} {
		if _, denies := matches(t, admin, path); denies {
			t.Errorf("a deny rule about /admin takes %q", path)
		}
		if allows, _ := matches(t, public, path); !allows {
			t.Errorf("an allow rule about /public misses %q", path)
		}
	}
}

func TestPathRulesThatCanNeverMatchDontCompile(t *testing.T) {
	t.Parallel()
	for _, match := range []config.PathMatch{
		{Type: "Exact", Value: ""}, {Type: "Exact", Value: "admin"}, {Type: "Exact", Value: "/a?b"}, {Type: "PathPrefix", Value: "/a/../b"}, {Type: "PathPrefix", Value: "/a;b"},
		{Type: "PathPrefix", Value: "/a%2fb"}, {Type: "Exact", Value: "/a%zz"}, {Type: "Suffix", Value: "#x"}, {Type: "Glob", Value: "/"}, {Type: "", Value: "/"},
		{Type: "RegularExpression", Value: "("}, {Type: "RegularExpression", Value: "/a)|(?:/b"}, {Type: "RegularExpression", Value: `/(a)\1`},
		{Type: "RegularExpression", Value: strings.Repeat("a", 2000)},
	} {
		if _, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{Path: &match}}}, rules.Options{}); err == nil {
			t.Errorf("%+v compiles", match)
		}
	}
}

func TestMethodRules(t *testing.T) {
	t.Parallel()
	for method, want := range map[string][2]bool{"GET": {true, true}, "POST": {true, true}, "get": {false, true}, "DELETE": {false, false}, "": {false, false}} {
		in := rules.Input{Request: requestOf(method, "/", "x-http-method-override", "GET")}
		for i, allow := range []bool{true, false} {
			if got := decide(t, config.Rule{Allow: allow, Methods: []string{"GET", "POST"}}, in, rules.Options{}); got != want[i] {
				t.Errorf("%q, allow %v: %v", method, allow, got)
			}
		}
	}
	for _, method := range []string{"", "get", "GET ", "GET,POST"} {
		if _, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{Methods: []string{method}}}}, rules.Options{}); err == nil {
			t.Errorf("%q compiles", method)
		}
	}
}

// FuzzPathRules: whatever the path, a rule never allows what the same rule wouldn't deny, nor what a deny
// rule about everything else would; and dot segments in no disguise get past an allow rule.
func FuzzPathRules(f *testing.F) {
	for _, path := range []string{"/admin", "/public/../admin", "/a;b/%2e%2e/c?d", "//x//", "/%61dmin;x", "*", "/public/a%20b"} {
		f.Add(path, "/public")
	}
	f.Fuzz(func(t *testing.T, path, value string) {
		for _, kind := range []string{"Exact", "PathPrefix", "Suffix", "RegularExpression"} {
			match := config.PathMatch{Type: kind, Value: value}
			if _, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{Path: &match}}}, rules.Options{}); err != nil {
				continue
			}
			inverted := match
			inverted.Invert = true
			allows, denies := matches(t, match, path)
			if _, otherwise := matches(t, inverted, path); allows && (!denies || otherwise) {
				t.Errorf("%s %q allows %q; denies %v, all else %v", kind, value, path, denies, otherwise)
			}
			decoded, _ := url.PathUnescape(strings.SplitN(path, "?", 2)[0])
			if allows && (strings.Contains(decoded+"/", "/../") || strings.Contains(decoded+"/", "/./")) {
				t.Errorf("%s %q allows %q", kind, value, path)
			}
		}
	})
}

// A dot, a star or a bracket in a literal stands for itself, and an expression is compared with the whole
// path by its bytes.
func TestS10LiteralsAreQuotedAndExpressionsAnchored(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, value, path string
	}{
		{"Exact", "/a.b", "/axb"}, {"Exact", "/a*", "/aaa"}, {"Exact", "/[ab]", "/a"}, {"Exact", "/a|/b", "/b"}, {"Exact", "/a+", "/aa"},
		{"PathPrefix", "/v1.0", "/v1x0/users"}, {"PathPrefix", "/a.*", "/abc"}, {"PathPrefix", "/(a|b)", "/a"},
		{"Suffix", ".png", "/xpng"}, {"Suffix", "$", "/a"}, {"Suffix", ".*", "/a"},
		{"RegularExpression", "/a", "/a/b"}, {"RegularExpression", "/a", "/x/a"}, {"RegularExpression", "/a|/b", "/bb"}, {"RegularExpression", "/public/[a-z]+", "/public/a/../../admin"},
		{"RegularExpression", "a", "/a"}, {"RegularExpression", "/a$", "/a\n"}, {"RegularExpression", "/a.", "/a\n"}, {"RegularExpression", "/é", "/\xe9"}, {"RegularExpression", "/caf.", "/caf\xff\xfe"},
		{"RegularExpression", "/a", "/a%00"}, {"RegularExpression", "/a", "/A"},
	} {
		if allows, _ := matches(t, config.PathMatch{Type: c.kind, Value: c.value}, c.path); allows {
			t.Errorf("%s %s allows %q", c.kind, c.value, c.path)
		}
	}
	for _, beyond := range []string{`/(a)\1`, `/a(?=b)`, `/(?<!a)b`, `/a++`, strings.Repeat("(a{1,9}){1,9}", 40), "/(", "/[", `/\`} {
		rule := &config.Authorization{Rules: []config.Rule{{Name: "it", Path: &config.PathMatch{Type: "RegularExpression", Value: beyond}}}}
		if _, err := rules.Compile(rule, rules.Options{}); err == nil && !strings.HasPrefix(beyond, "(a{") {
			t.Errorf("%s compiles", beyond)
		}
	}
}

func TestS6QueriesAreNoPartOfPaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, value, path string }{
		{"Exact", "/admin", "/admin?x"}, {"Exact", "/admin", "/admin?"}, {"PathPrefix", "/admin", "/admin?/../public"}, {"Suffix", ".env", "/.env?a=b.txt"},
		{"RegularExpression", "/admin", "/admin?x"}, {"Exact", "/admin", "/admin??"},
	} {
		if _, denies := matches(t, config.PathMatch{Type: c.kind, Value: c.value}, c.path); !denies {
			t.Errorf("%s %s misses %q", c.kind, c.value, c.path)
		}
	}
	for _, c := range []struct{ kind, value, path string }{
		{"Exact", "/public", "/admin?/public"}, {"Suffix", ".png", "/admin?x=.png"}, {"RegularExpression", ".*/public", "/admin?/public"}, {"PathPrefix", "/public", "/?/public"},
	} {
		if allows, _ := matches(t, config.PathMatch{Type: c.kind, Value: c.value}, c.path); allows {
			t.Errorf("%s %s allows %q", c.kind, c.value, c.path)
		}
	}
}
