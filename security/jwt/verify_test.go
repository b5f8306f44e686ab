package jwt_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

func TestEveryAlgorithmVerifies(t *testing.T) {
	t.Parallel()
	k := keys()
	long := []byte(strings.Repeat("0123456789abcdef", 4))
	v := local(t, keySet(t,
		member(t, k.rsa.Public(), map[string]any{"kid": "rsa"}), member(t, k.p256.Public(), map[string]any{"kid": "p256", "use": "sig", "key_ops": []string{"verify"}}),
		member(t, k.p384.Public(), map[string]any{"kid": "p384", "alg": "ES384"}), member(t, k.ed.Public(), map[string]any{"kid": "ed"}),
		member(t, long, map[string]any{"kid": "hs"})))
	for _, c := range []struct {
		key      any
		alg, kid string
	}{
		{k.rsa, "RS256", "rsa"}, {k.rsa, "RS384", "rsa"}, {k.rsa, "RS512", "rsa"}, {k.rsa, "PS256", "rsa"}, {k.rsa, "PS384", "rsa"}, {k.rsa, "PS512", "rsa"},
		{k.p256, "ES256", "p256"}, {k.p384, "ES384", "p384"}, {k.ed, "EdDSA", "ed"}, {long, "HS256", "hs"}, {long, "HS384", "hs"}, {long, "HS512", "hs"},
	} {
		token := sign(t, c.key, map[string]any{"alg": c.alg, "kid": c.kid}, claims())
		for range 2 {
			if got, err := v.Verify(request(token)); err != nil || got.Identity.Username != "carol" {
				t.Errorf("%s: %v", c.alg, err)
			}
		}
		if _, err := v.Verify(request(sign(t, c.key, map[string]any{"alg": c.alg}, claims()))); err != nil {
			t.Errorf("%s without kid: %v", c.alg, err)
		}
		forged := token[:strings.LastIndexByte(token, '.')+1] + strings.Repeat("A", len(token)-strings.LastIndexByte(token, '.')-1)
		if _, err := v.Verify(request(forged)); !errors.Is(err, jwt.ErrInvalid) {
			t.Errorf("%s forged: %v", c.alg, err)
		}
	}
}

func TestS22AlgorithmConfusion(t *testing.T) {
	t.Parallel()
	k := keys()
	der, _ := x509.MarshalPKIXPublicKey(k.rsa.Public())
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	v := local(t, keySet(t, member(t, k.rsa.Public(), map[string]any{"kid": "rsa", "alg": "RS256"}), member(t, k.p256.Public(), map[string]any{"kid": "ec"})))
	evil := member(t, k.rsa2.Public(), nil)
	certificate := base64.StdEncoding.EncodeToString(der)
	for name, token := range map[string]string{
		"HS256 with the public key":      sign(t, public, map[string]any{"alg": "HS256", "kid": "rsa"}, claims()),
		"HS256 with the DER":             sign(t, der, map[string]any{"alg": "HS256", "kid": "rsa"}, claims()),
		"HS256 with the modulus":         sign(t, k.rsa.N.Bytes(), map[string]any{"alg": "HS256"}, claims()),
		"PS256 where the key says RS256": sign(t, k.rsa, map[string]any{"alg": "PS256", "kid": "rsa"}, claims()),
		"RS512 where the key says RS256": sign(t, k.rsa, map[string]any{"alg": "RS512", "kid": "rsa"}, claims()),
		"another key's kid":              sign(t, k.p256, map[string]any{"alg": "ES256", "kid": "rsa"}, claims()),
		"lower case":                     sign(t, k.rsa, map[string]any{"alg": "rs256", "kid": "rsa"}, claims()),
		"jwk":                            sign(t, k.rsa2, map[string]any{"alg": "RS256", "jwk": evil}, claims()),
		"jku and x5u":                    sign(t, k.rsa2, map[string]any{"alg": "RS256", "kid": "x", "jku": "https://evil", "x5u": "https://evil"}, claims()),
		"x5c":                            sign(t, k.rsa2, map[string]any{"alg": "RS256", "x5c": []string{certificate}}, claims()),
		"none":                           sign(t, nil, map[string]any{"alg": "none"}, claims()),
		"none with a key's kid":          sign(t, nil, map[string]any{"alg": "nOnE", "kid": "rsa"}, claims()),
	} {
		if _, err := v.Verify(request(token)); !errors.Is(err, jwt.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := v.Verify(request(sign(t, k.rsa, map[string]any{"alg": "RS256", "kid": "rsa"}, claims()))); err != nil {
		t.Errorf("the real one: %v", err)
	}
}

func TestS22KeySetsAreFiltered(t *testing.T) {
	t.Parallel()
	k := keys()
	good := member(t, k.ed.Public(), map[string]any{"kid": "good"})
	for name, bad := range map[string]map[string]any{
		"encryption":   member(t, k.rsa.Public(), map[string]any{"use": "enc"}),
		"key_ops":      member(t, k.rsa.Public(), map[string]any{"key_ops": []string{"encrypt"}}),
		"short RSA":    member(t, k.short.Public(), nil),
		"private":      member(t, k.rsa, nil),
		"short secret": member(t, []byte("short"), nil),
		"wrong alg":    member(t, k.rsa.Public(), map[string]any{"alg": "ES256"}),
		"wrong curve":  member(t, k.p256.Public(), map[string]any{"alg": "ES384"}),
		"HS on RSA":    member(t, k.rsa.Public(), map[string]any{"alg": "HS256"}),
		"exponent 1":   member(t, k.rsa.Public(), map[string]any{"e": "AQ"}),
		"X25519":       {"kty": "OKP", "crv": "X25519", "x": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
	} {
		if _, err := jwt.ParseKeySet([]byte(keySet(t, bad))); err == nil {
			t.Errorf("%s: a set of it alone is accepted", name)
		}
		set, err := jwt.ParseKeySet([]byte(keySet(t, bad, good)))
		if err != nil || set.Len() != 1 || len(set.Refused()) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	unknown := map[string]any{"kty": "POST-QUANTUM", "kid": "pq"}
	if set, err := jwt.ParseKeySet([]byte(keySet(t, unknown, good))); err != nil || set.Len() != 1 {
		t.Errorf("an unknown key type takes others with it: %v", err)
	}
	for name, text := range map[string]string{"empty": `{"keys":[]}`, "nothing": ``, "no JSON": `x`, "array": `[]`, "page": `<html>`, "many": keySet(t, slices.Repeat([]map[string]any{good}, 65)...)} {
		if _, err := jwt.ParseKeySet([]byte(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	twice := keySet(t, member(t, k.rsa.Public(), map[string]any{"kid": "a"}), member(t, k.rsa2.Public(), map[string]any{"kid": "a"}), good)
	if set, err := jwt.ParseKeySet([]byte(twice)); err != nil || set.Len() != 1 {
		t.Errorf("two keys of one kid: %v", err)
	}
	same := keySet(t, member(t, k.rsa.Public(), map[string]any{"kid": "a"}), member(t, k.p256.Public(), map[string]any{"kid": "a"}))
	if set, err := jwt.ParseKeySet([]byte(same)); err != nil || set.Len() != 2 {
		t.Errorf("one kid for two algorithms: %v", err)
	}
}

func TestS27ProvidersDoNotVouchForEachOther(t *testing.T) {
	t.Parallel()
	k := keys()
	v, err := jwt.Compile(&config.JWT{Providers: []config.JWTProvider{
		{Name: "a", Issuer: "https://a", Audiences: []string{"x"}, LocalJWKS: &config.Source{Inline: keySet(t, member(t, k.rsa.Public(), map[string]any{"kid": "k"}))}},
		{Name: "b", Issuer: "https://b", LocalJWKS: &config.Source{Inline: keySet(t, member(t, k.rsa2.Public(), map[string]any{"kid": "k"}))}, ExtractFrom: &config.ExtractFrom{Headers: []config.ExtractHeader{{Name: "Authorization", ValuePrefix: "Bearer "}}}},
	}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]any{"alg": "RS256", "kid": "k"}
	for name, c := range map[string]struct {
		token string
		want  string
	}{
		"a":                   {sign(t, k.rsa, header, claims(map[string]any{"iss": "https://a", "aud": "x"})), "a"},
		"b":                   {sign(t, k.rsa2, header, claims(map[string]any{"iss": "https://b"})), "b"},
		"b signs for a":       {sign(t, k.rsa2, header, claims(map[string]any{"iss": "https://a", "aud": "x"})), ""},
		"a signs for b":       {sign(t, k.rsa, header, claims(map[string]any{"iss": "https://b"})), ""},
		"a without audience":  {sign(t, k.rsa, header, claims(map[string]any{"iss": "https://a"})), ""},
		"audience is part of": {sign(t, k.rsa, header, claims(map[string]any{"iss": "https://a", "aud": "xy"})), ""},
		"issuer's case":       {sign(t, k.rsa, header, claims(map[string]any{"iss": "https://A", "aud": "x"})), ""},
		"no issuer":           {sign(t, k.rsa, header, map[string]any{"aud": "x"}), ""},
	} {
		for range 2 {
			got, err := v.Verify(request(c.token))
			if c.want == "" && !errors.Is(err, jwt.ErrInvalid) || c.want != "" && (err != nil || got.Identity.Provider != c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A provider without an issuer takes tokens of any, but none of an issuer whose keys the policy has elsewhere.
func TestS27AProviderWithoutAnIssuerIsNotAnothers(t *testing.T) {
	t.Parallel()
	k := keys()
	v, err := jwt.Compile(&config.JWT{Providers: []config.JWTProvider{
		{Name: "any", LocalJWKS: &config.Source{Inline: keySet(t, member(t, k.ed.Public(), nil))}},
		{Name: "b", Issuer: "https://b", LocalJWKS: &config.Source{Inline: keySet(t, member(t, k.rsa2.Public(), nil))}},
	}}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]any{"alg": "EdDSA"}
	for name, c := range map[string]struct {
		token string
		want  string
	}{
		"b's own":          {sign(t, k.rsa2, map[string]any{"alg": "RS256"}, claims(map[string]any{"iss": "https://b"})), "b"},
		"some issuer":      {sign(t, k.ed, header, claims(map[string]any{"iss": "https://c"})), "any"},
		"no issuer":        {sign(t, k.ed, header, map[string]any{"sub": "a"}), "any"},
		"b in a list":      {sign(t, k.ed, header, claims(map[string]any{"iss": []string{"https://b"}})), ""},
		"b's name":         {sign(t, k.ed, header, claims(map[string]any{"iss": "https://b"})), ""},
		"any's name for b": {sign(t, k.rsa2, map[string]any{"alg": "RS256"}, claims(map[string]any{"iss": "https://c"})), ""},
	} {
		got, err := v.Verify(request(c.token))
		if c.want == "" && !errors.Is(err, jwt.ErrInvalid) || c.want != "" && (err != nil || got.Identity.Provider != c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestS30CachedTokensStillExpire(t *testing.T) {
	t.Parallel()
	k := keys()
	v := local(t, keySet(t, member(t, k.ed.Public(), nil)), func(p *config.JWTProvider) { p.ClockSkew = -1 })
	now := time.Now()
	v.Now = func() time.Time { return now }
	token := sign(t, k.ed, map[string]any{"alg": "EdDSA"}, map[string]any{"iss": "idp", "exp": now.Unix() + 10})
	for _, c := range []struct {
		at   time.Duration
		want error
	}{{0, nil}, {9 * time.Second, nil}, {11 * time.Second, jwt.ErrExpired}, {0, nil}} {
		v.Now = func() time.Time { return now.Add(c.at) }
		if _, err := v.Verify(request(token)); !errors.Is(err, c.want) {
			t.Errorf("after %s: %v", c.at, err)
		}
	}
	// Another policy with another issuer knows nothing of it.
	other := local(t, keySet(t, member(t, k.ed.Public(), nil)), func(p *config.JWTProvider) { p.Issuer = "other" })
	if _, err := other.Verify(request(token)); !errors.Is(err, jwt.ErrInvalid) {
		t.Errorf("another policy: %v", err)
	}
}

func TestRequiredExpiry(t *testing.T) {
	t.Parallel()
	k := keys()
	token := sign(t, k.ed, map[string]any{"alg": "EdDSA"}, map[string]any{"iss": "idp"})
	set := keySet(t, member(t, k.ed.Public(), nil))
	if _, err := local(t, set).Verify(request(token)); err != nil {
		t.Error(err)
	}
	strict := local(t, set, func(p *config.JWTProvider) { p.RequireExpiration = true })
	if _, err := strict.Verify(request(token)); !errors.Is(err, jwt.ErrExpired) {
		t.Error(err)
	}
}

func TestManyTokensAtOnce(t *testing.T) {
	t.Parallel()
	k := keys()
	v := local(t, keySet(t, member(t, k.ed.Public(), nil)), func(p *config.JWTProvider) {
		p.ClaimToHeaders = []config.ClaimToHeader{{Claim: "n", Header: "x-n"}}
	})
	var tokens []string
	for i := range 1000 {
		tokens = append(tokens, sign(t, k.ed, map[string]any{"alg": "EdDSA"}, claims(map[string]any{"n": i})))
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				n := (i*7 + worker) % len(tokens)
				got, err := v.Verify(request(tokens[n]))
				if err != nil || got.Headers[0].Value != fmt.Sprint(n) {
					t.Errorf("token %d gave %v, %v", n, got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestInvalidProvidersAreErrors(t *testing.T) {
	t.Parallel()
	set := &config.Source{Inline: keySet(t, member(t, keys().ed.Public(), nil))}
	fetcher := jwt.NewFetcher(jwt.FetcherOptions{})
	t.Cleanup(fetcher.Close)
	for name, p := range map[string]config.JWTProvider{
		"no name":           {LocalJWKS: set},
		"no keys":           {Name: "a"},
		"both":              {Name: "a", LocalJWKS: set, RemoteJWKS: &config.RemoteJWKS{URI: "https://a"}},
		"claim path":        {Name: "a", LocalJWKS: set, ClaimToHeaders: []config.ClaimToHeader{{Claim: "a..b", Header: "x"}}},
		"claim quotes":      {Name: "a", LocalJWKS: set, ClaimToHeaders: []config.ClaimToHeader{{Claim: `["a`, Header: "x"}}},
		"empty claim":       {Name: "a", LocalJWKS: set, ClaimToHeaders: []config.ClaimToHeader{{Header: "x"}}},
		"format":            {Name: "a", LocalJWKS: set, ClaimToHeaders: []config.ClaimToHeader{{Claim: "a", Header: "x", Format: "XML"}}},
		"pseudo-header":     {Name: "a", LocalJWKS: set, ClaimToHeaders: []config.ClaimToHeader{{Claim: "a", Header: ":path"}}},
		"framing header":    {Name: "a", LocalJWKS: set, ClaimToHeaders: []config.ClaimToHeader{{Claim: "a", Header: "Transfer-Encoding"}}},
		"reserved header":   {Name: "a", LocalJWKS: set, ClaimToHeaders: []config.ClaimToHeader{{Claim: "a", Header: "X-Gatehouse-Recompute"}}},
		"line break":        {Name: "a", LocalJWKS: set, ClaimToHeaders: []config.ClaimToHeader{{Claim: "a", Header: "x\r\ny"}}},
		"nameless cookie":   {Name: "a", LocalJWKS: set, ExtractFrom: &config.ExtractFrom{Cookies: []string{""}}},
		"S26 http":          {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "http://idp.example/jwks"}},
		"S26 file":          {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "file:///etc/passwd", AllowPrivateAddresses: true}},
		"S26 loopback":      {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "https://127.0.0.1/jwks"}},
		"S26 metadata":      {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "https://169.254.169.254/"}},
		"S26 mapped":        {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "https://[::ffff:10.0.0.1]/"}},
		"S26 user":          {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "https://u:p@idp.example/"}},
		"CA isn't there":    {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "https://idp.example/", CACertificate: &config.Source{Ref: "ConfigMap/ca"}}},
		"CA is no PEM":      {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "https://idp.example/", CACertificate: &config.Source{Inline: "x"}}},
		"negative maxStale": {Name: "a", RemoteJWKS: &config.RemoteJWKS{URI: "https://idp.example/", MaxStale: -1}},
	} {
		if _, err := jwt.Compile(&config.JWT{Providers: []config.JWTProvider{p}}, nil, fetcher); err == nil {
			t.Errorf("%s compiles", name)
		}
	}
	if states := fetcher.States(); len(states) != 0 {
		t.Errorf("something is still fetched: %v", states)
	}
}

func FuzzToken(f *testing.F) {
	k := keys()
	v := local(f, keySet(f, member(f, k.ed.Public(), map[string]any{"kid": "ed"})))
	good := sign(f, k.ed, map[string]any{"alg": "EdDSA", "kid": "ed"}, claims())
	for _, seed := range []string{good, good + "=", good[1:], "..", "a.b.c", strings.Repeat("A", 100) + ".e30.", "eyJhbGciOiJub25lIn0.e30.", "{}", good + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if got, err := v.Verify(request(token)); err == nil && strings.Trim(token, " ") != good {
			t.Errorf("%q is accepted as %v", token, got.Identity)
		} else if err != nil && strings.Contains(err.Error(), token) && len(token) > 20 {
			t.Errorf("the error quotes the token: %v", err)
		}
	})
}

// FuzzKeySet: a key set of any bytes has usable keys or is an error, and no key of it verifies what nobody
// signed.
func FuzzKeySet(f *testing.F) {
	k := keys()
	f.Add([]byte(keySet(f, member(f, k.ed.Public(), map[string]any{"kid": "1"}), member(f, k.p256.Public(), nil))))
	f.Add([]byte(keySet(f, member(f, k.rsa.Public(), map[string]any{"alg": "RS256", "use": "sig"}))))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"},{"kty":"?"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Add([]byte(`{"kty":"RSA","n":"","e":"AQAB"}`))
	unsigned := strings.TrimSuffix(sign(f, []byte{}, map[string]any{"alg": "HS256"}, claims()), "=")
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := jwt.ParseKeySet(text)
		if err != nil {
			return
		}
		if set.Len() < 1 || set.Len() > 64 {
			t.Fatalf("%d keys", set.Len())
		}
		v := local(t, string(text))
		defer v.Close()
		if _, err := v.Verify(request(unsigned)); err == nil {
			t.Error("a token without a key's signature is valid")
		}
	})
}
