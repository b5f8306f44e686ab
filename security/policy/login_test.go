package policy_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// A login that the proxy conducts lets requests pass which the proxy can't have let by, and no others.
func TestLoginIsOneOfSeveralMethods(t *testing.T) {
	t.Parallel()
	login := &config.Login{PassedBy: []config.HeaderPrefix{{Name: "authorization", Prefix: "Basic "}, {Name: "x-api-key"}}}
	basic := withBasic()
	basic.ForwardUsernameHeader = "x-user"
	p := compile(t, &config.Policy{Mode: config.Any, BasicAuth: basic, APIKey: withKeys(), Login: login})
	for name, c := range map[string]struct {
		lines []string
		want  int
	}{
		"a session":                    {nil, 200},
		"a session and another scheme": {[]string{"authorization", "Digest x"}, 200},
		"a password":                   {[]string{"authorization", basicAuth("alice:secret")}, 200},
		"a wrong password":             {[]string{"authorization", basicAuth("alice:x")}, 401},
		"an empty one":                 {[]string{"authorization", "Basic "}, 401},
		"an empty key":                 {[]string{"x-api-key", ""}, 401},
		"a key in the second line":     {[]string{"x-api-key", "", "x-api-key", "x"}, 401},
		"a password in the second":     {[]string{"authorization", "Digest x", "authorization", "Basic x"}, 401},
	} {
		v := check(t, p, request("GET /", append(c.lines, "x-user", "forged")...))
		if status(v) != c.want || v.Allow && len(v.Set) == 0 && len(v.Remove) == 0 {
			t.Errorf("%s: %d (%s), sets %v, removes %v", name, status(v), v.Reason, v.Set, v.Remove)
		}
	}
	for name, spec := range map[string]config.Policy{
		"All":             {BasicAuth: withBasic(), Login: login},
		"nobody is by":    {Mode: config.Any, BasicAuth: withBasic(), Login: &config.Login{}},
		"optional tokens": {Mode: config.Any, JWT: withJWT(t, func(j *config.JWT) { j.Optional = true }), Login: login},
		"tokens failOpen": {Mode: config.Any, JWT: withJWT(t, func(j *config.JWT) { j.FailOpen = true }), Login: login},
	} {
		denies(t, name, &spec, "")
	}
}
