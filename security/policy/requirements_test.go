package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

func TestS6PathRulesNeverSeeTheQuery(t *testing.T) {
	t.Parallel()
	p := seen(t, `input.parsed_path == ["public"]`)
	for path, want := range map[string]int{
		"/public": 200, "/public?": 200, "/public?x=/admin": 200, "/public?a?b": 200, "/admin?/public": 403, "/admin?x=/../public": 403, "/admin%3F/../public": 403, "/?/public": 403,
	} {
		if v := check(t, p, request("GET "+path)); status(v) != want {
			t.Errorf("%s: %d (%s)", path, status(v), v.Reason)
		}
	}
}

func TestS7S20ClientHeadersAreNoFacts(t *testing.T) {
	t.Parallel()
	lies := []string{
		"x-envoy-original-path", "/public", "x-forwarded-uri", "/public", "x-original-url", "/public", "x-forwarded-prefix", "/public", "x-forwarded-host", "inside.example",
		"x-forwarded-proto", "http", "x-forwarded-client-cert", "By=a;URI=spiffe://admin", "x-forwarded-for", "10.0.0.1", "x-gatehouse-client-ip", "10.0.0.1",
		"x-envoy-external-address", "10.0.0.1", "forwarded", "for=10.0.0.1", "x-http-method-override", "GET",
	}
	for _, expression := range []string{
		`input.parsed_path == ["public"]`, `input.attributes.request.http.path == "/public"`, `input.attributes.request.http.host == "inside.example"`,
		`input.attributes.request.http.scheme == "http"`, `input.attributes.source.principal`, `input.attributes.source.address.socketAddress.address == "10.0.0.1"`,
		`input.peer.address == "10.0.0.1"`, `input.attributes.request.http.method == "GET"`, `input.identity.username`, `input.attributes.contextExtensions.team`,
	} {
		if v := check(t, seen(t, expression), request("POST /admin", lies...)); v.Allow {
			t.Errorf("%s is true", expression)
		}
	}
}

func TestS8OddTargetsAreDenied(t *testing.T) {
	t.Parallel()
	p := seen(t, `input.parsed_path[0] != "admin"`)
	for _, line := range []string{"CONNECT ", "CONNECT api.example:443", "OPTIONS *", "GET ", "GET ?x=1", "GET http://api.example/", "GET \x00"} {
		if v := check(t, p, request(line)); v.Allow {
			t.Errorf("%q passes", line)
		}
	}
}

func TestS13S29SeveralCredentialsAreNeverChosenFrom(t *testing.T) {
	t.Parallel()
	good, other, again := token(t, nil), token(t, map[string]any{"sub": "dave"}), token(t, map[string]any{"scope": "more"})
	nobody, noone := token(t, map[string]any{"sub": ""}), token(t, map[string]any{"sub": "", "scope": "more"})
	expired, foreign := token(t, map[string]any{"exp": 1}), token(t, map[string]any{"iss": "evil"})
	p := compile(t, &config.Policy{JWT: withJWT(t, func(j *config.JWT) {
		j.Providers[0].ExtractFrom = &config.ExtractFrom{
			Headers: []config.ExtractHeader{{Name: "Authorization", ValuePrefix: "Bearer "}, {Name: "x-token"}}, Cookies: []string{"t"}, Params: []string{"t"},
		}
	})})
	for name, c := range map[string]struct {
		path  string
		lines []string
		user  string
	}{
		"one":                        {"/", bearer(good), "carol"},
		"the same in two places":     {"/?t=" + good, bearer(good), "carol"},
		"two of one caller":          {"/?t=" + again, bearer(good), "carol"},
		"two of two callers":         {"/?t=" + other, bearer(good), ""},
		"a third of another":         {"/?t=" + good, append(bearer(again), "cookie", "t="+other), ""},
		"two without a subject":      {"/?t=" + nobody, bearer(noone), ""},
		"a bad one after":            {"/?t=" + expired, bearer(good), ""},
		"a bad one before":           {"/?t=" + good, bearer(expired), ""},
		"another issuer's beside it": {"/", append(bearer(good), "cookie", "t="+foreign), ""},
		"an empty one beside it":     {"/?t=", bearer(good), ""},
		"two lines":                  {"/", append(bearer(good), bearer(other)...), ""},
		"two lines, one no token":    {"/", append(bearer(good), "authorization", "Basic eDp5"), ""},
		"two lines of a header":      {"/", []string{"x-token", good, "X-Token", good}, ""},
		"joined":                     {"/", []string{"x-token", good + "," + good}, ""},
		"joined with the scheme":     {"/", []string{"authorization", "Bearer " + good + ", Bearer " + other}, ""},
		"two cookies":                {"/", []string{"cookie", "t=" + good + "; t=" + other}, ""},
		"a cookie beside others":     {"/", []string{"cookie", "at=" + other + "; t=" + good + "; t.x=" + other + "; u=1,2"}, "carol"},
		"a blank in its name":        {"/", []string{"cookie", "t =" + other + "; t=" + good}, ""},
		"a blank before it":          {"/", []string{"cookie", "t=" + good + ";\u00a0t=" + other}, ""},
		"cookies by a comma":         {"/", []string{"cookie", "a=b,t=" + other + "; t=" + good}, ""},
		"a cookie in quotes":         {"/", []string{"cookie", `t="` + good + `"`}, "carol"},
		"a cookie in another's":      {"/", []string{"cookie", `a="; t=` + good + `; b="; t=` + other}, ""},
		"two parameters":             {"/?t=" + good + "&t=" + other, nil, ""},
		"two parameters, escaped":    {"/?t=" + good + "&%74=" + other, nil, ""},
		"two parameters by ;":        {"/?t=" + good + ";t=" + other, nil, ""},
	} {
		v := check(t, p, request("GET "+c.path, c.lines...))
		if v.Allow != (c.user != "") || v.Allow && v.Set[0].Value != c.user {
			t.Errorf("%s: %v (%s) %v", name, v.Allow, v.Reason, v.Set)
		}
	}
}

// Envoy joins several lines of Authorization into one before anybody can count them.
func TestS13JoinedCredentialsAreSeveral(t *testing.T) {
	t.Parallel()
	good := "Bearer " + token(t, nil)
	optional := compile(t, &config.Policy{JWT: withJWT(t, func(j *config.JWT) { j.Optional = true })})
	for name, c := range map[string]struct {
		value string
		want  int
	}{
		"a token":                    {good, 200},
		"another scheme":             {"Basic eDp5", 200},
		"parameters with commas":     {`Digest username="basic", realm="bearer x", uri="/"`, 200},
		"a parameter that ends in B": {`Digest username="a",qop=auth-basic`, 200},
		"password, token":            {"Basic eDp5," + good, 401},
		"password, token, spaces":    {"Basic eDp5 ,\t" + strings.Replace(good, "Bearer", "bEARER", 1), 401},
		"another scheme, token":      {`Digest username="a", ` + good, 401},
		"another scheme, password":   {"Digest x,Basic eDp5", 401},
		"token, password":            {good + ",Basic eDp5", 401},
		"empty, token":               {", " + good, 401},
	} {
		if v := check(t, optional, request("GET /", "authorization", c.value)); status(v) != c.want {
			t.Errorf("%s: %d (%s), want %d", name, status(v), v.Reason, c.want)
		}
	}
}

// On every way to an allow, each identity header is overwritten or removed, and never both.
func TestS14S15EveryAllowPathOwnsIdentityHeaders(t *testing.T) {
	t.Parallel()
	claims := func(j *config.JWT) {
		j.Optional = true
		j.Providers[0].ExtractFrom = &config.ExtractFrom{Cookies: []string{"t"}}
		j.Providers[0].ClaimToHeaders = append(j.Providers[0].ClaimToHeaders, config.ClaimToHeader{Claim: "email", Header: "X-Email"})
	}
	users := withBasic()
	users.ForwardUsernameHeader = "X-User"
	strip := []string{"X_Team"}
	for name, spec := range map[string]*config.Policy{
		"strip only": {Strip: strip}, "JWT": {JWT: withJWT(t, claims), Strip: strip}, "dry run": {DryRun: true, BasicAuth: users, Strip: strip},
		"any": {Mode: config.Any, BasicAuth: users, JWT: withJWT(t, claims), Strip: strip}, "all": {BasicAuth: users, JWT: withJWT(t, claims), Strip: strip},
		"Rego": {JWT: withJWT(t, claims), Strip: strip, OPA: rego(`allow := {"allowed": true, "headers": {"X-TEAM": "a"}, "request_headers_to_remove": ["x-user", "X-Team"]}`)},
		"CORS": {CORS: &config.CORS{AllowOrigins: []string{"*"}}, JWT: withJWT(t, claims), Strip: strip},
	} {
		p := compile(t, spec)
		for _, credentials := range [][]string{
			nil, {"cookie", "t=" + token(t, nil)}, {"cookie", "t=" + token(t, map[string]any{"email": "c@example"})}, {"authorization", basicAuth("alice:secret")},
			{"authorization", basicAuth("alice:secret"), "cookie", "t=" + token(t, nil)},
		} {
			v := check(t, p, request("GET /", append(credentials, "X-User", "root", "x_email", "root", "x-team", "root")...))
			if !v.Allow {
				continue
			}
			for header, used := range map[string]bool{"x-user": spec.JWT != nil || spec.BasicAuth != nil, "x-email": spec.JWT != nil, "x_team": true} {
				set := slices.ContainsFunc(v.Set, func(f exchange.Field) bool { return strings.EqualFold(f.Name, header) })
				if removed := slices.Contains(v.Remove, header); used && set == removed {
					t.Errorf("%s, %.30q: %s set %v, removed %v", name, credentials, header, set, removed)
				}
			}
		}
	}
}

func TestS43PoliciesAreBounded(t *testing.T) {
	t.Parallel()
	many := func(n int) []config.Source { return make([]config.Source, n) }
	for name, spec := range map[string]*config.Policy{
		"origins":    {CORS: &config.CORS{AllowOrigins: slices.Repeat([]string{"https://a.com"}, 2000)}},
		"expression": {CORS: &config.CORS{AllowOrigins: []string{"~" + strings.Repeat("(a|b)", 1000)}}},
		"rules":      {Authorization: &config.Authorization{Rules: make([]config.Rule, 2000)}},
		"CIDRs":      {Authorization: &config.Authorization{Rules: []config.Rule{{ClientCIDRs: slices.Repeat([]string{"10.0.0.0/8"}, 20000)}}}},
		"providers":  {JWT: &config.JWT{Providers: make([]config.JWTProvider, 40)}},
		"documents":  {OPA: &config.OPA{Modules: rego("allow := true").Modules, Documents: many(200)}},
		"module":     {OPA: rego("# " + strings.Repeat("a", 5<<20))},
		"body":       {OPA: &config.OPA{Modules: rego("allow := true").Modules, BodyMaxBytes: 100 << 20}},
		"htpasswd":   {BasicAuth: &config.BasicAuth{Users: config.Source{Inline: strings.Repeat("#\n", 1<<20)}}},
		"key set":    {JWT: &config.JWT{Providers: []config.JWTProvider{{Name: "a", LocalJWKS: &config.Source{Inline: strings.Repeat(" ", 2<<20)}}}}},
	} {
		denies(t, name, spec, "")
	}
}

func TestPoliciesThatMakeNoSenseDontCompile(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]*config.Policy{
		"mode":             {Mode: "Some"},
		"realm":            {BasicAuth: &config.BasicAuth{Users: config.Source{Inline: htpasswd}, Realm: "a\r\nb"}},
		"username header":  {BasicAuth: &config.BasicAuth{Users: config.Source{Inline: htpasswd}, ForwardUsernameHeader: "host"}},
		"strip":            {Strip: []string{":authority"}},
		"two sources":      {BasicAuth: &config.BasicAuth{Users: config.Source{Inline: htpasswd, Ref: "x"}}},
		"negative maxAge":  {CORS: &config.CORS{AllowOrigins: []string{"*"}, MaxAge: new(-time.Second)}},
		"method with a CR": {CORS: &config.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"GET\r"}}},
		"provider twice":   {JWT: &config.JWT{Providers: slices.Repeat(withJWT(t).Providers, 2)}},
	} {
		denies(t, name, spec, "")
	}
}

func TestQuotesInARealmStayInIt(t *testing.T) {
	t.Parallel()
	b := withBasic()
	b.Realm = `a", charset="x\`
	v := check(t, compile(t, &config.Policy{BasicAuth: b}), request("GET /"))
	if got := v.Reply.Header.Get("WWW-Authenticate"); got != `Basic realm="a\", charset=\"x\\", charset="UTF-8"` {
		t.Error(got)
	}
	if v.Reason != policy.ReasonCredentialsMissing {
		t.Error(v.Reason)
	}
}
