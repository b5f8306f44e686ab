package policy_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

func TestJWTProtectsARoute(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t)})
	good := token(t, nil)
	hour := time.Now().Add(-time.Hour).Unix()
	for name, c := range map[string]struct {
		path  string
		lines []string
		want  int
	}{
		"none":                       {"/", nil, 401},
		"bearer":                     {"/", bearer(good), 200},
		"scheme in any case":         {"/", []string{"authorization", "BEARER " + good}, 200},
		"query parameter":            {"/?a=b&access_token=" + good, nil, 200},
		"S13 parameter twice":        {"/?access_token=" + good + "&access_token=" + good, nil, 401},
		"S13 header twice":           {"/", append(bearer(good), bearer(good)...), 401},
		"S29 one of two is wrong":    {"/?access_token=x.y.z", bearer(good), 401},
		"bare scheme":                {"/", []string{"authorization", "Bearer"}, 401},
		"expired":                    {"/", bearer(token(t, map[string]any{"exp": hour})), 401},
		"not yet":                    {"/", bearer(token(t, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()})), 401},
		"within the skew":            {"/", bearer(token(t, map[string]any{"exp": time.Now().Add(-30 * time.Second).Unix()})), 200},
		"S27 another issuer":         {"/", bearer(token(t, map[string]any{"iss": "idp/"})), 401},
		"S27 another audience":       {"/", bearer(token(t, map[string]any{"aud": "api2"})), 401},
		"S27 audience list":          {"/", bearer(token(t, map[string]any{"aud": []string{"x", "api"}})), 200},
		"S27 audience of odd types":  {"/", bearer(token(t, map[string]any{"aud": []any{"api", 1}})), 401},
		"exp as a string":            {"/", bearer(token(t, map[string]any{"exp": "9999999999"})), 401},
		"exp negative":               {"/", bearer(token(t, map[string]any{"exp": -1})), 401},
		"exp beyond all years":       {"/", bearer(token(t, map[string]any{"exp": 1e300})), 401},
		"S18 line break in a claim":  {"/", bearer(token(t, map[string]any{"sub": "a\r\nx-role: admin"})), 401},
		"S18 NUL in a claim":         {"/", bearer(token(t, map[string]any{"sub": "a\x00"})), 401},
		"S18 very long claim":        {"/", bearer(token(t, map[string]any{"sub": strings.Repeat("a", 9000)})), 401},
		"S23 too long":               {"/", bearer(token(t, map[string]any{"pad": strings.Repeat("a", 17<<10)})), 401},
		"S23 dots only":              {"/", bearer(strings.Repeat(".", 8000)), 401},
		"sub of another type passes": {"/", bearer(token(t, map[string]any{"sub": 12})), 200},
	} {
		if v := check(t, p, request("GET "+c.path, c.lines...)); status(v) != c.want {
			t.Errorf("%s: %d (%s), want %d", name, status(v), v.Reason, c.want)
		}
	}
}

func TestS22S23HostileTokens(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t, func(j *config.JWT) { j.Providers[0].Audiences = nil })})
	good, claims := `{"alg":"EdDSA","kid":"ed"}`, `{"iss":"idp","sub":"a"}`
	if v := check(t, p, request("GET /", bearer(signText(t, good, claims))...)); !v.Allow {
		t.Fatalf("the plain token is refused: %s", v.Reason)
	}
	for _, c := range [][2]string{
		{`{"alg":"none"}`, claims}, {`{"alg":"nOnE","kid":"ed"}`, claims}, {`{"alg":"HS256","kid":"ed"}`, claims}, {`{"alg":"RS256","kid":"ed"}`, claims},
		{`{"kid":"ed"}`, claims}, {`{"alg":"EdDSA","kid":7}`, claims}, {`{"alg":["EdDSA"],"kid":"ed"}`, claims},
		{`{"alg":"EdDSA","kid":"../../ed"}`, claims}, {`{"alg":"EdDSA","kid":"' OR 1=1"}`, claims}, {`{"alg":"EdDSA","kid":"http://evil"}`, claims},
		{`{"alg":"EdDSA","kid":"ed","crit":["x"],"x":1}`, claims}, {`{"alg":"EdDSA","kid":"ed","crit":[]}`, claims}, {`{"alg":"EdDSA","kid":"ed","b64":false}`, claims},
		{`{"alg":"EdDSA","kid":"ed","zip":"DEF"}`, claims}, {`{"alg":"EdDSA","kid":"ed","enc":"A128GCM"}`, claims},
		{`{"alg":"EdDSA","kid":"ed","alg":"EdDSA"}`, claims}, {`{"alg":"EdDSA","kid":"ed"}{}`, claims}, {`["EdDSA"]`, claims}, {`null`, claims},
		{good, `{"iss":"idp","iss":"idp"}`}, {good, `{"iss":"evil","iss":"idp"}`}, {good, claims + "x"}, {good, claims + claims}, {good, `[` + claims + `]`}, {good, ``},
		{good, "{\"iss\":\"idp\",\"a\":\"\xff\"}"}, {good, `{"iss":"idp","a":` + strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40) + `}`},
		{good, `{"iss":"idp","a":` + strings.Repeat(`[`, 8000)}, {good, `{"iss":["idp"]}`}, {good, `{"iss":"idp","exp":true}`}, {good, `{"iss":"idp","nbf":"0"}`},
	} {
		if v := check(t, p, request("GET /", bearer(signText(t, c[0], c[1]))...)); status(v) != 401 {
			t.Errorf("%.60s . %.60s: %d (%s)", c[0], c[1], status(v), v.Reason)
		}
	}
}

// Each mutation leaves the signed meaning as it is for a lenient reader.
func TestS22EncodingMalleability(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t)})
	good := token(t, nil)
	last := strings.LastIndexByte(good, '.')
	trailing := good[:len(good)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", good[len(good)-1])|1])
	for name, text := range map[string]string{
		"padding": good + "==", "newline": good[:last+5] + "\n" + good[last+5:], "space inside": good[:10] + " " + good[10:],
		"standard alphabet": strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "+", "trailing bits": trailing,
		"four parts": good + ".", "two parts": good[:last], "no signature": good[:last+1], "JSON serialization": `{"payload":"` + good + `"}`,
		"signature cut": good[:len(good)-4], "JWE": "a.b.c.d.e",
	} {
		if v := check(t, p, request("GET /", bearer(text)...)); status(v) != 401 {
			t.Errorf("%s: %d", name, status(v))
		}
	}
}

func TestClaimsBecomeHeaders(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t, func(j *config.JWT) {
		j.Providers[0].RecomputeRoute = true
		j.Providers[0].ClaimToHeaders = []config.ClaimToHeader{
			{Claim: "sub", Header: "X-User"}, {Claim: "realm.roles", Header: "x-roles", Format: "CSV"}, {Claim: "realm.roles", Header: "x-roles-json", Format: "JSON"},
			{Claim: `["https://example.com/tenant"].id`, Header: "x-tenant"}, {Claim: "account", Header: "x-account"}, {Claim: "admin", Header: "x-admin"},
			{Claim: "realm", Header: "x-realm", Format: "JSON"}, {Claim: "realm", Header: "x-realm-string"}, {Claim: "nothing", Header: "x-nothing"},
		}
	})})
	claims := map[string]any{"realm": map[string]any{"roles": []string{"a", "b"}}, "https://example.com/tenant": map[string]any{"id": "t1"}, "account": 9007199254740993, "admin": true}
	v := check(t, p, request("GET /", append(bearer(token(t, claims)), "x-nothing", "evil", "X_Roles", "evil")...))
	want := map[string]string{
		"x-user": "carol", "x-roles": "a,b", "x-roles-json": `["a","b"]`, "x-tenant": "t1", "x-account": "9007199254740993", "x-admin": "true", "x-realm": `{"roles":["a","b"]}`,
	}
	got := map[string]string{}
	for _, f := range v.Set {
		got[f.Name] = f.Value
	}
	if !reflect.DeepEqual(got, want) || !v.RecomputeRoute {
		t.Errorf("set %v recompute %v", got, v.RecomputeRoute)
	}
	for _, name := range []string{"x-nothing", "x_nothing", "x_roles", "x-realm-string"} {
		if !strings.Contains(" "+strings.Join(v.Remove, " ")+" ", " "+name+" ") {
			t.Errorf("%s isn't removed", name)
		}
	}
	payload := v.Metadata["idp"].(map[string]any)
	if payload["admin"] != true || payload["account"] != 9007199254740992.0 {
		t.Errorf("metadata %v", payload)
	}
	comma := map[string]any{"realm": map[string]any{"roles": []string{"a,admin"}}}
	if v := check(t, p, request("GET /", bearer(token(t, comma))...)); status(v) != 401 {
		t.Errorf("S18: a role with a comma is written as two")
	}
}

func TestS28OptionalTokens(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t, func(j *config.JWT) {
		j.Optional = true
		second := j.Providers[0]
		second.Name, second.Issuer = "other", "other"
		second.ClaimToHeaders = []config.ClaimToHeader{{Claim: "email", Header: "x-email"}}
		j.Providers = append(j.Providers, second)
	})})
	for name, c := range map[string]struct {
		lines []string
		want  int
	}{
		"none":              {[]string{"x-user", "root", "X_USER", "root", "x-email", "root"}, 200},
		"first provider":    {bearer(token(t, nil)), 200},
		"second provider":   {bearer(token(t, map[string]any{"iss": "other"})), 200},
		"wrong issuer":      {bearer(token(t, map[string]any{"iss": "evil"})), 401},
		"garbage":           {bearer("garbage"), 401},
		"basic is no token": {[]string{"authorization", basicAuth("a:b")}, 200},
		"another scheme":    {[]string{"authorization", "BearerX " + token(t, nil)}, 200},
		"empty":             {[]string{"authorization", "Bearer"}, 401},
		"behind a tab":      {[]string{"authorization", "Bearer\t" + token(t, nil)}, 401},
		"behind a colon":    {[]string{"authorization", "Bearer:" + token(t, nil)}, 401},
		"behind a blank":    {[]string{"authorization", "bearer\u00a0" + token(t, nil)}, 401},
	} {
		v := check(t, p, request("GET /", c.lines...))
		if status(v) != c.want {
			t.Errorf("%s: %d (%s)", name, status(v), v.Reason)
		}
		// S14: on every allow path each identity header is either ours or gone.
		for _, header := range []string{"x-user", "x-email"} {
			set := len(v.Set) > 0 && v.Set[0].Name == header
			if removed := strings.Contains(" "+strings.Join(v.Remove, " ")+" ", " "+header+" "); v.Allow && set == removed {
				t.Errorf("%s: %s set %v removed %v", name, header, set, removed)
			}
		}
	}
}

func TestTokensInCookiesAndHeaders(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t, func(j *config.JWT) {
		j.Providers[0].ExtractFrom = &config.ExtractFrom{
			Headers: []config.ExtractHeader{{Name: "X-Token"}, {Name: "X-Pre", ValuePrefix: "jwt="}}, Cookies: []string{"session"}, Params: []string{"t"},
		}
	})})
	good := token(t, nil)
	for name, c := range map[string]struct {
		path  string
		lines []string
		want  int
	}{
		"header":               {"/", []string{"x-token", good}, 200},
		"prefix":               {"/", []string{"x-pre", "jwt=" + good}, 200},
		"prefix is exact":      {"/", []string{"x-pre", "JWT=" + good}, 401},
		"cookie":               {"/", []string{"cookie", "a=b; session=" + good}, 200},
		"S13 cookie twice":     {"/", []string{"cookie", "session=x; session=" + good}, 401},
		"S13 two cookie lines": {"/", []string{"cookie", "session=" + good, "cookie", "session=" + good}, 401},
		"parameter":            {"/x?t=" + good, nil, 200},
		"escaped name":         {"/x?%74=" + good + "&t=" + good, nil, 401},
		"default place":        {"/", bearer(good), 401},
		"S2 escaped question":  {"/%3Ft=" + good, nil, 401},
	} {
		if v := check(t, p, request("GET "+c.path, c.lines...)); status(v) != c.want {
			t.Errorf("%s: %d (%s)", name, status(v), v.Reason)
		}
	}
}

func TestAuthModeAnyAndAll(t *testing.T) {
	t.Parallel()
	either := compile(t, &config.Policy{Mode: config.Any, BasicAuth: withBasic(), JWT: withJWT(t)})
	all := compile(t, &config.Policy{BasicAuth: withBasic(), JWT: withJWT(t, func(j *config.JWT) {
		j.Providers[0].ExtractFrom = &config.ExtractFrom{Cookies: []string{"t"}}
	})})
	good := token(t, nil)
	for name, c := range map[string]struct {
		lines    []string
		any, all int
	}{
		"nothing":         {nil, 401, 401},
		"basic":           {[]string{"authorization", basicAuth("alice:secret")}, 200, 401},
		"bearer":          {bearer(good), 200, 401},
		"both":            {[]string{"authorization", basicAuth("alice:secret"), "cookie", "t=" + good}, 200, 200},
		"wrong basic":     {[]string{"authorization", basicAuth("alice:x"), "cookie", "t=" + good}, 401, 401},
		"wrong bearer":    {bearer(good + "x"), 401, 401},
		"S13 one of each": {[]string{"authorization", "Bearer " + good, "authorization", basicAuth("alice:secret")}, 401, 401},
	} {
		if v := check(t, either, request("GET /", c.lines...)); status(v) != c.any {
			t.Errorf("Any, %s: %d (%s)", name, status(v), v.Reason)
		}
		if v := check(t, all, request("GET /", c.lines...)); status(v) != c.all {
			t.Errorf("All, %s: %d (%s)", name, status(v), v.Reason)
		}
	}
}

func TestS17ConnectionCannotDropIdentity(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t)})
	for value, want := range map[string]int{"keep-alive": 200, "close, X-User": 403, "x_user": 403} {
		if v := check(t, p, request("GET /", append(bearer(token(t, nil)), "Connection", value)...)); status(v) != want {
			t.Errorf("Connection: %s: %d", value, status(v))
		}
	}
	written := compile(t, &config.Policy{OPA: rego(`allow := {"allowed": true, "headers": {"X-Role": "user"}}`)})
	for value, want := range map[string]int{"keep-alive": 200, "Upgrade, X-ROLE": 403, "x-role": 403, "x-roles": 200} {
		if v := check(t, written, request("GET /", "Connection", value)); status(v) != want {
			t.Errorf("Connection: %s, of a header that Rego writes: %d, want %d", value, status(v), want)
		}
	}
}

func TestS40UnusablePoliciesDeny(t *testing.T) {
	t.Parallel()
	secret := base64.StdEncoding.EncodeToString([]byte("k"))
	for name, spec := range map[string]*config.Policy{
		"fault":          {Fault: "Secret team-a/users isn't there"},
		"missing Secret": {BasicAuth: &config.BasicAuth{Users: config.Source{Ref: "Secret/team-a/users/.htpasswd"}}},
		"bad line":       {BasicAuth: &config.BasicAuth{Users: config.Source{Inline: "alice:{SHA}" + secret}}},
		"no keys":        {JWT: &config.JWT{Providers: []config.JWTProvider{{Name: "a", LocalJWKS: &config.Source{Inline: `{"keys":[]}`}}}}},
		"no fetcher":     {JWT: &config.JWT{Providers: []config.JWTProvider{{Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "https://idp.example"}}}}},
		"bad CIDR":       {Authorization: &config.Authorization{Rules: []config.Rule{{ClientCIDRs: []string{"10.0.0.0"}}}}},
		"bad origin":     {CORS: &config.CORS{AllowOrigins: []string{"https://a.example/path"}}},
	} {
		denies(t, name, spec, secret)
	}
}

func BenchmarkWarmJWT(b *testing.B) {
	p := compile(b, &config.Policy{JWT: withJWT(b)})
	lines := bearer(token(b, nil))
	fields := make([]exchange.Field, 0, 12)
	for i := range 10 {
		fields = append(fields, exchange.Field{Name: fmt.Sprintf("x-header-%d", i), Value: "value"})
	}
	fields = append(fields, exchange.Field{Name: lines[0], Value: lines[1]})
	benchmark(b, p, fields)
}

func BenchmarkWarmBasic(b *testing.B) {
	p := compile(b, &config.Policy{BasicAuth: withBasic()})
	benchmark(b, p, []exchange.Field{{Name: "authorization", Value: basicAuth("alice:secret")}})
}
