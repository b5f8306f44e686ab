package policy_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

func TestBasicAuthProtectsARoute(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{BasicAuth: withBasic()})
	for name, c := range map[string]struct {
		lines []string
		want  int
	}{
		"no credentials":            {nil, 401},
		"right":                     {[]string{"Authorization", basicAuth("alice:secret")}, 200},
		"S34 colon in the password": {[]string{"Authorization", basicAuth("bob:pa:ss")}, 200},
		"scheme in any case":        {[]string{"Authorization", "bASIC " + basicAuth("alice:secret")[6:]}, 200},
		"wrong password":            {[]string{"Authorization", basicAuth("alice:Secret")}, 401},
		"S31 unknown user":          {[]string{"Authorization", basicAuth("mallory:secret")}, 401},
		"empty user":                {[]string{"Authorization", basicAuth(":secret")}, 401},
		"no colon":                  {[]string{"Authorization", basicAuth("alice")}, 401},
		"another scheme":            {[]string{"Authorization", "Bearer x"}, 401},
		"not base64":                {[]string{"Authorization", "Basic !!!"}, 401},
		"nothing after the scheme":  {[]string{"Authorization", "Basic"}, 401},
		"line break in base64":      {[]string{"Authorization", "Basic YWxpY2U6\nc2VjcmV0"}, 401},
		"S13 two lines":             {[]string{"Authorization", basicAuth("alice:secret"), "authorization", basicAuth("alice:secret")}, 401},
		"S12 two in one line":       {[]string{"Authorization", basicAuth("alice:secret") + "," + basicAuth("alice:secret")}, 401},
		"not UTF-8":                 {[]string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:\xff"))}, 401},
		"control character":         {[]string{"Authorization", basicAuth("alice:secret\x00")}, 401},
	} {
		if v := check(t, p, request("GET /", c.lines...)); status(v) != c.want {
			t.Errorf("%s: %d (%s), want %d", name, status(v), v.Reason, c.want)
		}
	}
}

func TestS47DenialsTellNothing(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{Mode: config.Any, BasicAuth: withBasic(), JWT: withJWT(t)})
	first := check(t, p, request("GET /"))
	want := []string{`Bearer realm="team-a/api"`, `Basic realm="team-a/api", charset="UTF-8"`}
	if got := first.Reply.Header["Www-Authenticate"]; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("challenges %q", got)
	}
	for _, lines := range [][]string{nil, {"authorization", basicAuth("alice:x")}, {"authorization", basicAuth("mallory:x")}, {"authorization", "Bearer x.y.z"}} {
		v := check(t, p, request("GET /", lines...))
		if string(v.Reply.Body) != "unauthorized" || v.Reply.Status() != http.StatusUnauthorized {
			t.Errorf("%q: %d %q", lines, v.Reply.Status(), v.Reply.Body)
		}
	}
}

func TestS14UsernameHeaderIsOurs(t *testing.T) {
	t.Parallel()
	b := withBasic()
	b.ForwardUsernameHeader = "X-User-Name"
	p := compile(t, &config.Policy{BasicAuth: b, Strip: []string{"X-Role"}})
	v := check(t, p, request("GET /", "authorization", basicAuth("alice:secret"), "x-user-name", "root", "X_User-Name", "root", "X-ROLE", "admin"))
	if !v.Allow || len(v.Set) != 1 || v.Set[0] != (exchange.Field{Name: "x-user-name", Value: "alice"}) {
		t.Fatalf("set %v", v.Set)
	}
	for _, name := range []string{"x_user_name", "x_user-name", "x-role", "x_role"} {
		if !strings.Contains(strings.Join(v.Remove, " ")+" ", name+" ") {
			t.Errorf("%s isn't removed: %v", name, v.Remove)
		}
	}
}
