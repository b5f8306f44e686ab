package rules_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
	"github.com/gatehouse-proxy/gatehouse/security/rules"
)

func TestS12EveryValueOfAHeaderCounts(t *testing.T) {
	t.Parallel()
	match := []config.HeaderMatch{{Name: "X-Team", Values: []string{"a", "b", "c,d"}}}
	for name, c := range map[string]struct {
		lines          []string
		allows, denies bool
	}{
		"absent":                      {nil, false, false},
		"one":                         {[]string{"x-team", "a"}, true, true},
		"another":                     {[]string{"x-team", "x"}, false, false},
		"case counts":                 {[]string{"x-team", "A"}, false, false},
		"both known":                  {[]string{"x-team", "a", "X-TEAM", "b"}, true, true},
		"one unknown":                 {[]string{"x-team", "a", "x-team", "x"}, false, true},
		"one unknown before":          {[]string{"x-team", "x", "x-team", "a"}, false, true},
		"joined, known":               {[]string{"x-team", "a, b"}, true, true},
		"joined, one unknown":         {[]string{"x-team", "x,a"}, false, true},
		"joined, an empty one":        {[]string{"x-team", "a,"}, false, true},
		"empty":                       {[]string{"x-team", ""}, false, false},
		"a value with a comma":        {[]string{"x-team", "c,d"}, true, true},
		"that value in two lines":     {[]string{"x-team", "c", "x-team", "d"}, false, true},
		"spaces around":               {[]string{"x-team", " a\t"}, true, true},
		"another spelling":            {[]string{"x_team", "a"}, false, true},
		"another spelling beside it":  {[]string{"x-team", "a", "x_team", "x"}, false, true},
		"the same in both spellings":  {[]string{"x-team", "a", "X_Team", "a"}, true, true},
		"a header with a longer name": {[]string{"x-team-a", "a"}, false, false},
	} {
		in := rules.Input{Request: requestOf("GET", "/", c.lines...)}
		if got := decide(t, config.Rule{Allow: true, Headers: match}, in, rules.Options{}); got != c.allows {
			t.Errorf("%s: allows %v", name, got)
		}
		if got := decide(t, config.Rule{Headers: match}, in, rules.Options{}); got != c.denies {
			t.Errorf("%s: denies %v", name, got)
		}
	}
}

// A header that the policy writes is the policy's: what the client sent under its name decides nothing.
func TestS14RulesSeeIdentityHeadersAsTheUpstreamWill(t *testing.T) {
	t.Parallel()
	options := rules.Options{Owned: func(name string) bool { return strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "x-role") }}
	for _, name := range []string{"x-role", "X_Role"} {
		rule := config.Rule{Allow: true, Headers: []config.HeaderMatch{{Name: name, Values: []string{"admin"}}}}
		forged := rules.Input{Request: requestOf("GET", "/", "x-role", "admin", "x_role", "admin")}
		if decide(t, rule, forged, options) {
			t.Errorf("%s: the client's value allows", name)
		}
		forged.Set = []exchange.Field{{Name: "x-role", Value: "user"}}
		if decide(t, rule, forged, options) {
			t.Errorf("%s: the client's value allows beside the policy's", name)
		}
		verified := rules.Input{Request: requestOf("GET", "/", "x-role", "user"), Set: []exchange.Field{{Name: "x-role", Value: "admin"}}}
		if !decide(t, rule, verified, options) {
			t.Errorf("%s: the policy's value doesn't allow", name)
		}
	}
}

func caller(t *testing.T, claims string) *identity.Identity {
	t.Helper()
	out := &identity.Identity{Method: identity.JWT, Provider: "idp"}
	d := json.NewDecoder(strings.NewReader(claims))
	d.UseNumber()
	if err := d.Decode(&out.Claims); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTokenRules(t *testing.T) {
	t.Parallel()
	options := rules.Options{Providers: []string{"idp", "other"}}
	role := config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{{Claim: "role", Values: []string{"admin", "7"}}}}
	roles := config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{{Claim: "realm.roles", Array: true, Values: []string{"admin"}}}}
	quoted := config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{{Claim: `["https://x/claims"].role`, Values: []string{"admin"}}}}
	dotted := config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{{Claim: "x.example/role", Values: []string{"admin"}}}}
	scopes := config.JWTMatch{Provider: "idp", Scopes: []string{"read", "write"}}
	both := config.JWTMatch{Provider: "idp", Claims: role.Claims, Scopes: scopes.Scopes}
	for name, c := range map[string]struct {
		match          config.JWTMatch
		claims         string
		allows, denies bool
	}{
		"string":                      {role, `{"role":"admin"}`, true, true},
		"another":                     {role, `{"role":"user"}`, false, false},
		"absent":                      {role, `{}`, false, false},
		"null":                        {role, `{"role":null}`, false, false},
		"an array for a string":       {role, `{"role":["user","admin"]}`, false, true},
		"a number for a string":       {role, `{"role":7}`, false, true},
		"an object for a string":      {role, `{"role":{"admin":true}}`, false, false},
		"array":                       {roles, `{"realm":{"roles":["user","admin"]}}`, true, true},
		"array without it":            {roles, `{"realm":{"roles":["user"]}}`, false, false},
		"empty array":                 {roles, `{"realm":{"roles":[]}}`, false, false},
		"a string for an array":       {roles, `{"realm":{"roles":"admin"}}`, false, true},
		"not nested":                  {roles, `{"roles":["admin"]}`, false, false},
		"a name with dots instead":    {roles, `{"realm.roles":["admin"]}`, true, true},
		"nested and with dots":        {roles, `{"realm":{"roles":["user"]},"realm.roles":["admin"]}`, false, true},
		"quoted name":                 {quoted, `{"https://x/claims":{"role":"admin"}}`, true, true},
		"name with dots, not nested":  {dotted, `{"x.example/role":"admin"}`, true, true},
		"scopes":                      {scopes, `{"scope":"write profile read"}`, true, true},
		"scopes in scp":               {scopes, `{"scp":["read","write"]}`, true, true},
		"scopes in both":              {scopes, `{"scope":"read","scp":"write"}`, true, true},
		"one scope of two":            {scopes, `{"scope":"read"}`, false, false},
		"part of a scope's name":      {scopes, `{"scope":"readwrite read-write"}`, false, false},
		"scopes of odd types":         {scopes, `{"scope":{"read":1},"scp":[["read","write"],1]}`, false, false},
		"claims and scopes":           {both, `{"role":"admin","scope":"read write"}`, true, true},
		"claims without scopes":       {both, `{"role":"admin"}`, false, false},
		"scopes without claims":       {both, `{"scope":"read write"}`, false, false},
		"a value that only begins so": {role, `{"role":"admin2"}`, false, false},
	} {
		in := rules.Input{Request: requestOf("GET", "/"), Caller: caller(t, c.claims)}
		if got := decide(t, config.Rule{Allow: true, JWT: &c.match}, in, options); got != c.allows {
			t.Errorf("%s: allows %v", name, got)
		}
		if got := decide(t, config.Rule{JWT: &c.match}, in, options); got != c.denies {
			t.Errorf("%s: denies %v", name, got)
		}
	}
}

// TestS49AnAddressIsCompared: an e-mail address or a domain in a token is what it says as a whole. What only ends,
// begins or looks like the one that is allowed isn't it.
func TestS49AnAddressIsCompared(t *testing.T) {
	t.Parallel()
	options := rules.Options{Providers: []string{"idp"}}
	rule := config.Rule{Allow: true, JWT: &config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{
		{Claim: "email", Values: []string{"alice@corp.example"}}, {Claim: "hd", Values: []string{"corp.example"}},
	}}}
	for name, c := range map[string]struct {
		email, domain string
		want          bool
	}{
		"the address":              {"alice@corp.example", "corp.example", true},
		"a longer local part":      {"malice@corp.example", "corp.example", false},
		"a quoted local part":      {`\"alice@corp.example\"@evil.example`, "corp.example", false},
		"a domain below":           {"alice@corp.example.evil.example", "corp.example", false},
		"a domain that ends so":    {"alice@corp.example", "evilcorp.example", false},
		"a subdomain":              {"alice@corp.example", "x.corp.example", false},
		"a trailing dot":           {"alice@corp.example.", "corp.example", false},
		"two addresses":            {"alice@corp.example,mallory@evil.example", "corp.example", false},
		"a name before it":         {"Mallory <alice@corp.example>", "corp.example", false},
		"a blank behind it":        {"alice@corp.example ", "corp.example", false},
		"a zero behind it":         {`alice@corp.example\u0000`, "corp.example", false},
		"a line behind it":         {`alice@corp.example\nx`, "corp.example", false},
		"a tag":                    {"alice+x@corp.example", "corp.example", false},
		"letters in another case":  {"Alice@corp.example", "corp.example", false},
		"letters that look so":     {`\u0430lice@corp.example`, "corp.example", false},
		"full-width letters":       {`alice@corp\uff0eexample`, "corp.example", false},
		"a domain with an at sign": {"alice@corp.example", "@corp.example", false},
	} {
		in := rules.Input{Request: requestOf("GET", "/"), Caller: caller(t, `{"email":"`+c.email+`","hd":"`+c.domain+`"}`)}
		if got := decide(t, rule, in, options); got != c.want {
			t.Errorf("%s: allows %v", name, got)
		}
	}
}

// Who leaves the token out must not pass a rule that would deny because of it.
func TestRulesAboutATokenDenyWithoutOne(t *testing.T) {
	t.Parallel()
	options := rules.Options{Providers: []string{"idp", "other"}}
	match := &config.JWTMatch{Provider: "idp", Scopes: []string{"read"}}
	for name, c := range map[string]struct {
		caller *identity.Identity
		denies bool
	}{
		"anonymous":          {nil, true},
		"by password only":   {&identity.Identity{Method: identity.Basic, Username: "alice"}, true},
		"by another's token": {&identity.Identity{Method: identity.JWT, Provider: "other", Claims: map[string]any{"scope": "read"}}, false},
	} {
		in := rules.Input{Request: requestOf("GET", "/"), Caller: c.caller}
		if decide(t, config.Rule{Allow: true, JWT: match}, in, options) {
			t.Errorf("%s: allowed", name)
		}
		if got := decide(t, config.Rule{JWT: match}, in, options); got != c.denies {
			t.Errorf("%s: denied %v", name, got)
		}
	}
}

func TestAllConditionsOfARuleMustMatch(t *testing.T) {
	t.Parallel()
	rule := config.Rule{
		Allow: true, ClientCIDRs: []string{"10.0.0.0/8"}, Methods: []string{"GET"}, Path: &config.PathMatch{Type: "PathPrefix", Value: "/api"},
		Headers: []config.HeaderMatch{{Name: "x-a", Values: []string{"1"}}, {Name: "x-b", Values: []string{"2"}}},
		JWT:     &config.JWTMatch{Provider: "idp", Scopes: []string{"read"}},
	}
	options := rules.Options{Providers: []string{"idp"}}
	for name, c := range map[string]struct {
		client, method, path string
		lines                []string
		claims               string
		want                 bool
	}{
		"all":      {"10.1.1.1", "GET", "/api/x", []string{"x-a", "1", "x-b", "2"}, `{"scope":"read"}`, true},
		"address":  {"192.0.2.1", "GET", "/api/x", []string{"x-a", "1", "x-b", "2"}, `{"scope":"read"}`, false},
		"method":   {"10.1.1.1", "PUT", "/api/x", []string{"x-a", "1", "x-b", "2"}, `{"scope":"read"}`, false},
		"path":     {"10.1.1.1", "GET", "/x", []string{"x-a", "1", "x-b", "2"}, `{"scope":"read"}`, false},
		"header a": {"10.1.1.1", "GET", "/api/x", []string{"x-b", "2"}, `{"scope":"read"}`, false},
		"header b": {"10.1.1.1", "GET", "/api/x", []string{"x-a", "1"}, `{"scope":"read"}`, false},
		"scope":    {"10.1.1.1", "GET", "/api/x", []string{"x-a", "1", "x-b", "2"}, `{}`, false},
	} {
		plain := requestOf(c.method, c.path, c.lines...)
		r := exchange.NewRequest(plain.Head(), exchange.Conn{Client: netip.MustParseAddr(c.client)}, plain.Header, exchange.Body{}, nil)
		in := rules.Input{Request: r, Caller: caller(t, c.claims)}
		for _, allow := range []bool{true, false} {
			rule.Allow = allow
			if got := decide(t, rule, in, options); got != c.want {
				t.Errorf("%s, allow %v: %v", name, allow, got)
			}
		}
	}
	// An unknown part doesn't make a deny rule match that another part excludes.
	rule.Allow = false
	if decide(t, rule, rules.Input{Request: requestOf("PUT", "/api")}, options) {
		t.Error("denied although the method is another")
	}
	if !decide(t, rule, rules.Input{Request: requestOf("GET", "/api", "x-a", "1", "x-b", "2")}, options) {
		t.Error("address and token unknown, all else matches: not denied")
	}
}

func TestPrincipalsThatMakeNoSenseDontCompile(t *testing.T) {
	t.Parallel()
	values := []string{"a"}
	for name, rule := range map[string]config.Rule{
		"pseudo-header":    {Headers: []config.HeaderMatch{{Name: ":authority", Values: values}}},
		"host":             {Headers: []config.HeaderMatch{{Name: "Host", Values: values}}},
		"reserved":         {Headers: []config.HeaderMatch{{Name: "X-Gatehouse-Client-Ip", Values: values}}},
		"no name":          {Headers: []config.HeaderMatch{{Values: values}}},
		"no values":        {Headers: []config.HeaderMatch{{Name: "x-a"}}},
		"unknown provider": {JWT: &config.JWTMatch{Provider: "nobody", Scopes: values}},
		"empty JWT":        {JWT: &config.JWTMatch{Provider: "idp"}},
		"claim":            {JWT: &config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{{Claim: "a..b", Values: values}}}},
		"claim's values":   {JWT: &config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{{Claim: "a"}}}},
		"two scopes":       {JWT: &config.JWTMatch{Provider: "idp", Scopes: []string{"a b"}}},
		"S43 too many":     {Headers: []config.HeaderMatch{{Name: "x-a", Values: make([]string, 20000)}}},
	} {
		if _, err := rules.Compile(&config.Authorization{Rules: []config.Rule{rule}}, rules.Options{Providers: []string{"idp"}}); err == nil {
			t.Errorf("%s: compiles", name)
		}
	}
}
