package jwt_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

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

// The attacks that RFC 8725 section 2 warns of, by its numbers.
func TestS22S23S27AttacksOfRFC8725(t *testing.T) {
	t.Parallel()
	k := keys()
	public, err := x509.MarshalPKIXPublicKey(k.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	asked := make(chan struct{}, 10)
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		_, _ = io.WriteString(w, keySet(t, member(t, k.ed.Public(), map[string]any{"kid": "evil"})))
	}))
	t.Cleanup(attacker.Close)
	set := keySet(t, member(t, k.rsa.Public(), map[string]any{"kid": "1"}), member(t, k.p256.Public(), map[string]any{"kid": "2"}))
	v := local(t, set, func(p *config.JWTProvider) { p.Audiences = []string{"api"} })
	good := claims(map[string]any{"aud": "api"})
	raw := func(header, payload string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "."
	}
	body, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	valid := sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": "1"}, good)
	if _, err := v.Verify(request(valid)); err != nil {
		t.Fatal(err)
	}
	wide := func(text string) string {
		var out []byte
		for _, c := range utf16.Encode([]rune(text)) {
			out = append(out, byte(c), byte(c>>8))
		}
		return string(out)
	}
	zero := base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	header := func(name string, value any) map[string]any {
		return map[string]any{"alg": "EdDSA", "kid": "evil", name: value}
	}
	for name, token := range map[string]string{
		"2.1 none":                        raw(`{"alg":"none"}`, string(body)),
		"2.1 none with a signature":       raw(`{"alg":"none","kid":"1"}`, string(body)) + strings.Split(valid, ".")[2],
		"2.1 nOnE":                        raw(`{"alg":"nOnE","kid":"1"}`, string(body)),
		"2.1 no algorithm":                raw(`{"kid":"1"}`, string(body)),
		"2.1 HMAC by the public key, PEM": sign(t, asPEM, map[string]any{"alg": "HS256", "kid": "1"}, good),
		"2.1 the same, trimmed":           sign(t, bytes.TrimSpace(asPEM), map[string]any{"alg": "HS256", "kid": "1"}, good),
		"2.1 HMAC by the public key, DER": sign(t, public, map[string]any{"alg": "HS256", "kid": "1"}, good),
		"2.1 HMAC by the modulus":         sign(t, k.rsa.N.Bytes(), map[string]any{"alg": "HS256", "kid": "1"}, good),
		"2.1 HMAC by the key set's text":  sign(t, []byte(set), map[string]any{"alg": "HS256"}, good),
		"2.1 zeros as an ECDSA signature": raw(`{"alg":"ES256","kid":"2"}`, string(body)) + zero,
		"2.1 no signature":                strings.Join(strings.Split(valid, ".")[:2], ".") + ".",
		"2.1 another hash":                strings.Replace(valid, strings.Split(valid, ".")[0], base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS512","kid":"1"}`)), 1),
		"2.2 an empty secret":             sign(t, []byte{}, map[string]any{"alg": "HS256"}, good),
		"2.2 a guessed secret":            sign(t, []byte("secret"), map[string]any{"alg": "HS256", "kid": "1"}, good),
		"2.3 nested, encrypted":           "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIiwiY3R5IjoiSldUIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA",
		"2.5 ECDH":                        raw(`{"alg":"ECDH-ES","enc":"A128GCM","epk":{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}}`, string(body)),
		"2.6 header in UTF-16":            raw(wide(`{"alg":"none"}`), string(body)),
		"2.6 payload in UTF-16":           raw(`{"alg":"RS256"}`, wide(string(body))) + strings.Split(valid, ".")[2],
		"2.6 compressed":                  sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": "1", "zip": "DEF"}, good),
		"2.7 another audience":            sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": "1"}, claims(map[string]any{"aud": "other"})),
		"2.7 no audience":                 sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": "1"}, claims()),
		"2.7 an audience that holds ours": sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": "1"}, claims(map[string]any{"aud": "api2"})),
		"2.8 another issuer":              sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": "1"}, claims(map[string]any{"aud": "api", "iss": "idp.evil"})),
		"2.8 an issuer in another case":   sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": "1"}, claims(map[string]any{"aud": "api", "iss": "IDP"})),
		"2.9 a key in the header":         sign(t, k.ed, header("jwk", member(t, k.ed.Public(), map[string]any{"kid": "evil"})), good),
		"2.9 a key set's URL":             sign(t, k.ed, header("jku", attacker.URL), good),
		"2.9 a certificate's URL":         sign(t, k.ed, header("x5u", attacker.URL), good),
		"2.9 a certificate":               sign(t, k.ed, header("x5c", []string{base64.StdEncoding.EncodeToString(public)}), good),
		"2.9 a path as kid":               sign(t, []byte{}, map[string]any{"alg": "HS256", "kid": "../../../../dev/null"}, good),
		"2.9 SQL as kid":                  sign(t, []byte("x"), map[string]any{"alg": "HS256", "kid": "1' UNION SELECT 'x"}, good),
		"2.9 a URL as kid":                sign(t, k.ed, map[string]any{"alg": "EdDSA", "kid": attacker.URL}, good),
		"2.9 a kid that is an object":     sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": map[string]any{"$ne": ""}}, good),
	} {
		if _, err := v.Verify(request(token)); !errors.Is(err, jwt.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(asked) > 0 {
		t.Error("a token's URL was fetched")
	}
	for name, weak := range map[string]string{"short RSA": keySet(t, member(t, k.short.Public(), nil)), "short secret": keySet(t, member(t, []byte("secret"), nil))} {
		if _, err := jwt.ParseKeySet([]byte(weak)); err == nil {
			t.Errorf("2.2 %s is accepted", name)
		}
	}
}
