package policy_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

func TestRulesUseTheVerifiedIdentity(t *testing.T) {
	t.Parallel()
	headers := func(j *config.JWT) {
		j.Providers[0].ClaimToHeaders = []config.ClaimToHeader{{Claim: "role", Header: "X-Role"}}
	}
	optional := func(j *config.JWT) { j.Optional = true }
	byClaim := []config.Rule{{Name: "admins", Allow: true, JWT: &config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{{Claim: "role", Values: []string{"admin"}}}}}}
	byHeader := []config.Rule{{Name: "admins", Allow: true, Headers: []config.HeaderMatch{{Name: "x-role", Values: []string{"admin"}}}}}
	noGuests := []config.Rule{{Name: "guests", JWT: &config.JWTMatch{Provider: "idp", Claims: []config.ClaimMatch{{Claim: "role", Values: []string{"guest"}}}}}}
	admin, guest := bearer(token(t, map[string]any{"role": "admin"})), bearer(token(t, map[string]any{"role": "guest"}))
	for name, c := range map[string]struct {
		spec   config.Policy
		lines  []string
		want   int
		reason string
	}{
		"claim":                                 {config.Policy{JWT: withJWT(t, headers), Authorization: &config.Authorization{Rules: byClaim}}, admin, 200, policy.ReasonAllowed},
		"another claim":                         {config.Policy{JWT: withJWT(t, headers), Authorization: &config.Authorization{Rules: byClaim}}, guest, 403, policy.ReasonDefaultDenied},
		"a header of a claim":                   {config.Policy{JWT: withJWT(t, headers), Authorization: &config.Authorization{Rules: byHeader}}, admin, 200, policy.ReasonAllowed},
		"S14 a forged one beside it":            {config.Policy{JWT: withJWT(t, headers), Authorization: &config.Authorization{Rules: byHeader}}, append(guest, "x-role", "admin"), 403, policy.ReasonDefaultDenied},
		"S14 a forged one without token":        {config.Policy{JWT: withJWT(t, headers, optional), Authorization: &config.Authorization{Rules: byHeader}}, []string{"x-role", "admin"}, 403, policy.ReasonDefaultDenied},
		"S14 a stripped one":                    {config.Policy{Strip: []string{"x-role"}, Authorization: &config.Authorization{Rules: byHeader}}, []string{"x-role", "admin"}, 403, policy.ReasonDefaultDenied},
		"a header that nobody writes":           {config.Policy{Authorization: &config.Authorization{Rules: byHeader}}, []string{"x-role", "admin"}, 200, policy.ReasonAllowed},
		"deny by claim":                         {config.Policy{JWT: withJWT(t, optional), Authorization: &config.Authorization{DefaultAllow: true, Rules: noGuests}}, guest, 403, policy.ReasonRuleDenied},
		"deny by claim, other claim":            {config.Policy{JWT: withJWT(t, optional), Authorization: &config.Authorization{DefaultAllow: true, Rules: noGuests}}, admin, 200, policy.ReasonAllowed},
		"S28 deny by claim, token left out":     {config.Policy{JWT: withJWT(t, optional), Authorization: &config.Authorization{DefaultAllow: true, Rules: noGuests}}, nil, 403, policy.ReasonRuleDenied},
		"401 comes before 403":                  {config.Policy{JWT: withJWT(t), Authorization: &config.Authorization{Rules: byClaim}}, nil, 401, policy.ReasonCredentialsMissing},
		"S14 dry run passes without the header": {config.Policy{DryRun: true, JWT: withJWT(t, headers), Authorization: &config.Authorization{Rules: byHeader}}, append(guest, "x-role", "admin"), 200, policy.DryRunPrefix + policy.ReasonDefaultDenied},
	} {
		v := check(t, compile(t, &c.spec), request("GET /", c.lines...))
		if status(v) != c.want || v.Reason != c.reason {
			t.Errorf("%s: %d (%s), want %d", name, status(v), v.Reason, c.want)
		}
	}
}

func TestRulesThatNameNoProviderMakeThePolicyUnusable(t *testing.T) {
	t.Parallel()
	rule := config.Rule{Allow: true, JWT: &config.JWTMatch{Provider: "other", Scopes: []string{"read"}}}
	denies(t, "provider", &config.Policy{JWT: withJWT(t), Authorization: &config.Authorization{Rules: []config.Rule{rule}}}, "")
	denies(t, "no JWT", &config.Policy{Authorization: &config.Authorization{Rules: []config.Rule{rule}}}, "")
}

func BenchmarkRules(b *testing.B) {
	rule := config.Rule{
		Allow: true, Methods: []string{"GET"}, Path: &config.PathMatch{Type: "PathPrefix", Value: "/things"},
		Headers: []config.HeaderMatch{{Name: "x-team", Values: []string{"a", "b"}}},
		JWT:     &config.JWTMatch{Provider: "idp", Scopes: []string{"read"}},
	}
	r := request("GET /things", append(bearer(token(b, map[string]any{"scope": "read write"})), "x-team", "b")...)
	p := compile(b, &config.Policy{JWT: withJWT(b), Authorization: &config.Authorization{Rules: []config.Rule{rule}}})
	b.ReportAllocs()
	for b.Loop() {
		if v := check(b, p, r); !v.Allow {
			b.Fatal(v.Reason)
		}
	}
}
