package policy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// withKeys knows client ci by key-a, in x-api-key and the parameter key.
func withKeys(edit ...func(*config.APIKey)) *config.APIKey {
	k := &config.APIKey{
		Credentials: []config.Source{{Inline: `{"ci":"a2V5LWE="}`}},
		Places:      []config.KeyPlace{{Kind: "Header", Name: "X-Api-Key"}, {Kind: "Param", Name: "key"}},
	}
	for _, e := range edit {
		e(k)
	}
	return k
}

func TestAPIKeysCombineWithOtherMethods(t *testing.T) {
	t.Parallel()
	key, wrong := []string{"x-api-key", "key-a"}, []string{"x-api-key", "key-x"}
	alice, mallory, carol := []string{"authorization", basicAuth("alice:secret")}, []string{"authorization", basicAuth("alice:x")}, bearer(token(t, nil))
	optional := func(j *config.JWT) { j.Optional = true }
	for name, c := range map[string]struct {
		spec  config.Policy
		lines [][]string
		want  int
	}{
		"key":                            {config.Policy{APIKey: withKeys()}, [][]string{key}, 200},
		"no key":                         {config.Policy{APIKey: withKeys()}, nil, 401},
		"wrong key":                      {config.Policy{APIKey: withKeys()}, [][]string{wrong}, 401},
		"all, both":                      {config.Policy{APIKey: withKeys(), BasicAuth: withBasic()}, [][]string{key, alice}, 200},
		"all, only the key":              {config.Policy{APIKey: withKeys(), BasicAuth: withBasic()}, [][]string{key}, 401},
		"all, only the password":         {config.Policy{APIKey: withKeys(), BasicAuth: withBasic()}, [][]string{alice}, 401},
		"all, wrong password":            {config.Policy{APIKey: withKeys(), BasicAuth: withBasic()}, [][]string{key, mallory}, 401},
		"all with an optional token":     {config.Policy{APIKey: withKeys(), JWT: withJWT(t, optional)}, [][]string{key}, 200},
		"S28 all, optional token wrong":  {config.Policy{APIKey: withKeys(), JWT: withJWT(t, optional)}, [][]string{key, {"authorization", "Bearer x.y.z"}}, 401},
		"all, optional token, no key":    {config.Policy{APIKey: withKeys(), JWT: withJWT(t, optional)}, [][]string{carol}, 401},
		"any, key":                       {config.Policy{Mode: config.Any, APIKey: withKeys(), BasicAuth: withBasic(), JWT: withJWT(t)}, [][]string{key}, 200},
		"any, password":                  {config.Policy{Mode: config.Any, APIKey: withKeys(), BasicAuth: withBasic(), JWT: withJWT(t)}, [][]string{alice}, 200},
		"any, token":                     {config.Policy{Mode: config.Any, APIKey: withKeys(), BasicAuth: withBasic(), JWT: withJWT(t)}, [][]string{carol}, 200},
		"any, wrong key and a token":     {config.Policy{Mode: config.Any, APIKey: withKeys(), BasicAuth: withBasic(), JWT: withJWT(t)}, [][]string{wrong, carol}, 200},
		"any, nothing":                   {config.Policy{Mode: config.Any, APIKey: withKeys(), BasicAuth: withBasic(), JWT: withJWT(t)}, nil, 401},
		"any, optional token":            {config.Policy{Mode: config.Any, APIKey: withKeys(), JWT: withJWT(t, optional)}, nil, 200},
		"S28 any, optional, wrong key":   {config.Policy{Mode: config.Any, APIKey: withKeys(), JWT: withJWT(t, optional)}, [][]string{wrong}, 401},
		"S13 two Authorization, key":     {config.Policy{APIKey: withKeys()}, [][]string{key, alice, carol}, 401},
		"dry run":                        {config.Policy{DryRun: true, APIKey: withKeys()}, [][]string{wrong}, 200},
		"then rules about a token":       {config.Policy{Mode: config.Any, APIKey: withKeys(), JWT: withJWT(t), Authorization: scoped(true)}, [][]string{key}, 403},
		"then deny rules about a token":  {config.Policy{Mode: config.Any, APIKey: withKeys(), JWT: withJWT(t), Authorization: scoped(false)}, [][]string{key}, 403},
		"then Rego that asks the client": {config.Policy{APIKey: withKeys(), OPA: rego(`allow if { input.identity.method == "api_key"; input.identity.client_id == "ci" }`)}, [][]string{key}, 200},
		"then Rego that asks another":    {config.Policy{APIKey: withKeys(), OPA: rego(`allow if input.identity.client_id == "cd"`)}, [][]string{key}, 403},
	} {
		if v := check(t, compile(t, &c.spec), request("GET /", slices.Concat(c.lines...)...)); status(v) != c.want {
			t.Errorf("%s: %d (%s), want %d", name, status(v), v.Reason, c.want)
		}
	}
}

// scoped is a rule about the scope read that allows, or denies where all else is allowed.
func scoped(allow bool) *config.Authorization {
	return &config.Authorization{DefaultAllow: !allow, Rules: []config.Rule{{Allow: allow, JWT: &config.JWTMatch{Provider: "idp", Scopes: []string{"read"}}}}}
}

func TestAPIKeyChallenges(t *testing.T) {
	t.Parallel()
	for want, spec := range map[string]*config.Policy{
		`ApiKey realm="team-a/api"`: {APIKey: withKeys()},
		`Bearer realm="team-a/api"|ApiKey realm="team-a/api"|Basic realm="team-a/api", charset="UTF-8"`: {Mode: config.Any, APIKey: withKeys(), JWT: withJWT(t), BasicAuth: withBasic()},
	} {
		for _, lines := range [][]string{nil, {"x-api-key", "wrong"}} {
			v := check(t, compile(t, spec), request("GET /", lines...))
			if got := strings.Join(v.Reply.Header["Www-Authenticate"], "|"); status(v) != 401 || got != want || string(v.Reply.Body) != "unauthorized" {
				t.Errorf("%d %q %q", status(v), got, v.Reply.Body)
			}
		}
	}
}

// The key never reaches the upstream, and the client's id does, on every way to an allow.
func TestS14S15S16KeysAndClientIDs(t *testing.T) {
	t.Parallel()
	keys := func(k *config.APIKey) { k.ForwardClientIDHeader, k.Sanitize = "X-Client", true }
	users := withBasic()
	for name, c := range map[string]struct {
		spec   config.Policy
		lines  []string
		client string
	}{
		"key":            {config.Policy{APIKey: withKeys(keys)}, []string{"x-api-key", "key-a"}, "ci"},
		"password":       {config.Policy{Mode: config.Any, APIKey: withKeys(keys), BasicAuth: users}, []string{"x-api-key", "wrong", "authorization", basicAuth("alice:secret")}, ""},
		"both":           {config.Policy{APIKey: withKeys(keys), BasicAuth: users}, []string{"x-api-key", "key-a", "authorization", basicAuth("alice:secret")}, "ci"},
		"dry run":        {config.Policy{DryRun: true, APIKey: withKeys(keys)}, []string{"x-api-key", "wrong"}, ""},
		"Rego":           {config.Policy{APIKey: withKeys(keys), OPA: rego(`allow := {"allowed": true, "headers": {"x-a": "b"}, "request_headers_to_remove": ["x-b"]}`)}, []string{"x-api-key", "key-a"}, "ci"},
		"optional token": {config.Policy{Mode: config.Any, APIKey: withKeys(keys), JWT: withJWT(t, func(j *config.JWT) { j.Optional = true })}, nil, "ci"},
	} {
		v := check(t, compile(t, &c.spec), request("GET /p?key=key-a&x=1", append(c.lines, "x-client", "root", "x_client", "root")...))
		if !v.Allow {
			t.Errorf("%s: %s", name, v.Reason)
			continue
		}
		if got := valueOf(v.Set, "x-client"); got != c.client || c.client == "" && !slices.Contains(v.Remove, "x-client") || !slices.Contains(v.Remove, "x_client") {
			t.Errorf("%s: client %q, set %v, remove %v", name, got, v.Set, v.Remove)
		}
		if valueOf(v.Set, ":path") != "/p?x=1" || c.lines != nil && !slices.Contains(v.Remove, "x-api-key") {
			t.Errorf("%s: the key passes: set %v, remove %v", name, v.Set, v.Remove)
		}
	}
	// The header of the key may be that of the client's id too: it is overwritten, and not removed.
	same := compile(t, &config.Policy{APIKey: withKeys(keys, func(k *config.APIKey) { k.ForwardClientIDHeader = "x-api-key" })})
	if v := check(t, same, request("GET /", "x-api-key", "key-a")); valueOf(v.Set, "x-api-key") != "ci" {
		t.Errorf("%+v", v)
	}
	if v := check(t, compile(t, &config.Policy{APIKey: withKeys()}), request("GET /?key=key-a")); len(v.Set) != 0 || len(v.Remove) != 0 || v.Reason != policy.ReasonAllowed {
		t.Errorf("not sanitized: %+v", v)
	}
}

func valueOf(fields []exchange.Field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
