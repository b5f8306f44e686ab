package jwt_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

// The examples of RFC 7515, appendices A.1 and A.3: somebody else's signatures over somebody else's JSON.
func TestTokensOfRFC7515(t *testing.T) {
	t.Parallel()
	const payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	for name, c := range map[string]struct{ key, token string }{
		"A.1": {
			`{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`,
			"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + payload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		},
		"A.3": {
			`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
			"eyJhbGciOiJFUzI1NiJ9." + payload + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		},
	} {
		v := local(t, `{"keys":[`+c.key+`]}`, func(p *config.JWTProvider) {
			p.Issuer = "joe"
			p.ClaimToHeaders = []config.ClaimToHeader{{Claim: `["http://example.com/is_root"]`, Header: "x-root"}, {Claim: "http://example.com/is_root", Header: "x-dotted"}}
		})
		if _, err := v.Verify(request(c.token)); !errors.Is(err, jwt.ErrExpired) {
			t.Errorf("%s today: %v", name, err)
		}
		v.Now = func() time.Time { return time.Unix(1300819300, 0) }
		got, err := v.Verify(request(c.token))
		if err != nil {
			t.Errorf("%s in 2011: %v", name, err)
			continue
		}
		if len(got.Headers) != 2 || got.Headers[0].Value != "true" || got.Headers[1].Value != "true" {
			t.Errorf("%s: %v", name, got.Headers)
		}
	}
}
