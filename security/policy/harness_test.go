package policy_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// denies expects that spec doesn't compile, that the error keeps the secret, and that the policy in its
// place denies.
func denies(t *testing.T, name string, spec *config.Policy, secret string) {
	t.Helper()
	spec.Name = "team-a/broken"
	_, err := policy.Compile(spec, policy.Deps{})
	if err == nil {
		t.Errorf("%s: compiles", name)
		return
	}
	if secret != "" && strings.Contains(err.Error(), secret) {
		t.Errorf("%s: the error tells the secret: %v", name, err)
	}
	v := check(t, policy.Unusable(spec.Name, err.Error()), request("GET /"))
	if status(v) != 503 || string(v.Reply.Body) != "service unavailable" {
		t.Errorf("%s: %d %q", name, status(v), v.Reply.Body)
	}
}

// benchmark checks one allowed request again and again.
func benchmark(b *testing.B, p *policy.Policy, fields []exchange.Field) {
	b.Helper()
	r := request("GET /things?x=1")
	r.Header = exchange.NewHeader(fields...)
	if v := check(b, p, r); !v.Allow {
		b.Fatal(v.Reason)
	}
	b.ReportAllocs()
	for b.Loop() {
		if v, err := p.Check(b.Context(), r); err != nil || !v.Allow {
			b.Fatal(v.Reason, err)
		}
	}
}
