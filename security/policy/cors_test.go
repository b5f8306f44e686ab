package policy_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// corsHeaders are the CORS headers of an answer, of whichever kind, as name=value.
func corsHeaders(v exchange.Verdict) string {
	var all []string
	for _, f := range v.ResponseSet {
		all = append(all, strings.ToLower(f.Name)+"="+f.Value)
	}
	if v.Reply != nil {
		for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers", "Vary"} {
			for _, value := range v.Reply.Header.Values(name) {
				all = append(all, strings.ToLower(name)+"="+value)
			}
		}
	}
	return strings.Join(all, " ")
}

func TestS38EveryAnswerCarriesCORSHeadersOnce(t *testing.T) {
	t.Parallel()
	spec := &config.Policy{
		BasicAuth: withBasic(), CORS: &config.CORS{AllowOrigins: []string{"https://a.com"}, AllowCredentials: true, ExposeHeaders: []string{"x-e"}},
		OPA: rego(`default allow := false
allow if input.parsed_path == ["ok"]
allow := 1 if input.parsed_path == ["fault"]
allow := {"allowed": false, "headers": {"Access-Control-Allow-Origin": "*", "vary": "Cookie"}} if input.parsed_path == ["own"]`),
	}
	own := compile(t, spec, func(d *policy.Deps) { d.CORSHeaders = true })
	envoys := compile(t, spec)
	full := "access-control-allow-origin=https://a.com access-control-allow-credentials=true access-control-expose-headers=x-e vary=Origin"
	for name, c := range map[string]struct {
		path, origin, user string
		status             int
		want               string
	}{
		"allowed":      {"/ok", "https://a.com", "alice:secret", 200, full},
		"401":          {"/ok", "https://a.com", "alice:x", 401, full},
		"403":          {"/no", "https://a.com", "alice:secret", 403, full},
		"503":          {"/fault", "https://a.com", "alice:secret", 503, full},
		"other origin": {"/ok", "https://b.com", "alice:secret", 200, "vary=Origin"},
		"no origin":    {"/no", "", "alice:secret", 403, "vary=Origin"},
		"Rego's own":   {"/own", "https://a.com", "alice:secret", 403, full},
	} {
		lines := []string{"authorization", basicAuth(c.user)}
		if c.origin != "" {
			lines = append(lines, "Origin", c.origin)
		}
		v := check(t, own, request("GET "+c.path, lines...))
		if status(v) != c.status || corsHeaders(v) != c.want {
			t.Errorf("%s: %d %s", name, status(v), corsHeaders(v))
		}
		if v := check(t, envoys, request("GET "+c.path, lines...)); name != "Rego's own" && corsHeaders(v) != "" {
			t.Errorf("%s: Envoy's filter does it, but %s", name, corsHeaders(v))
		}
	}
}

func TestS37PreflightsNeedNoCredentials(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{BasicAuth: withBasic(), CORS: &config.CORS{AllowOrigins: []string{"https://a.com"}, AllowMethods: []string{"PUT"}}})
	for name, c := range map[string]struct {
		lines []string
		want  int
	}{
		"preflight":        {[]string{"origin", "https://a.com", "access-control-request-method", "PUT"}, 204},
		"failed preflight": {[]string{"origin", "https://b.com", "access-control-request-method", "PUT"}, 403},
		"plain OPTIONS":    {[]string{"origin", "https://a.com"}, 401},
		"no origin":        {[]string{"access-control-request-method", "PUT"}, 401},
	} {
		v := check(t, p, request("OPTIONS /", c.lines...))
		if status(v) != c.want || v.Allow {
			t.Errorf("%s: %d", name, status(v))
		}
	}
	if v := check(t, compile(t, &config.Policy{BasicAuth: withBasic()}), request("OPTIONS /", "origin", "https://a.com", "access-control-request-method", "PUT")); status(v) != 401 {
		t.Errorf("without CORS: %d", status(v))
	}
}

func TestS40BrokenPoliciesStillSpeakCORS(t *testing.T) {
	t.Parallel()
	spec := &config.Policy{Name: "a/b", DryRun: true, BasicAuth: &config.BasicAuth{Users: config.Source{Ref: "missing"}}, CORS: &config.CORS{AllowOrigins: []string{"https://a.com"}}}
	deps := policy.Deps{CORSHeaders: true}
	_, err := policy.Compile(spec, deps)
	if err == nil {
		t.Fatal("a missing Secret compiles")
	}
	p := policy.Broken(spec, deps, err)
	if v := check(t, p, request("GET /", "origin", "https://a.com")); status(v) != 503 || corsHeaders(v) != "access-control-allow-origin=https://a.com vary=Origin" {
		t.Errorf("%d %s", status(v), corsHeaders(v))
	}
	if v := check(t, p, request("OPTIONS /", "origin", "https://a.com", "access-control-request-method", "GET")); status(v) != 204 {
		t.Errorf("preflight: %d", status(v))
	}
	spec.CORS.AllowOrigins = []string{"nonsense"}
	if v := check(t, policy.Broken(spec, deps, err), request("OPTIONS /", "origin", "https://a.com", "access-control-request-method", "GET")); status(v) != 503 {
		t.Errorf("broken CORS: %d", status(v))
	}
}
