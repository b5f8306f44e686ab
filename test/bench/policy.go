package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	jwxjwt "github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

const (
	origin = "https://app.example"
	issuer = "https://idp.example"
)

// newIssuer makes a key set and a token of eleven claims by it.
func newIssuer() (keySet, token string, err error) {
	raw, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", "", err
	}
	private, err := jwk.FromRaw(raw)
	if err != nil {
		return "", "", err
	}
	if err := private.Set(jwk.KeyIDKey, "one"); err != nil {
		return "", "", err
	}
	public, err := private.PublicKey()
	if err != nil {
		return "", "", err
	}
	set := jwk.NewSet()
	if err := set.AddKey(public); err != nil {
		return "", "", err
	}
	text, err := json.Marshal(set)
	if err != nil {
		return "", "", err
	}
	t := jwxjwt.New()
	now := time.Now()
	for name, value := range map[string]any{
		"iss": issuer, "sub": "3f1c9a52-7d7e-4f0b-9b55-0f6d0a6a1c11", "aud": "shop", "exp": now.Add(24 * time.Hour), "iat": now, "nbf": now.Add(-time.Minute),
		"jti": "c0a8012e-1", "email": "ada@app.example", "role": "reader", "scope": "openid profile orders:read", "realm": map[string]any{"roles": []string{"reader", "buyer"}},
	} {
		if err := t.Set(name, value); err != nil {
			return "", "", err
		}
	}
	signed, err := jwxjwt.Sign(t, jwxjwt.WithKey(jwa.RS256, private))
	return string(text), string(signed), err
}

// snapshotOf has the one policy of all rows: a token's signature and claims, one of them as a header, CORS,
// and one Rego rule about method and claim. Each time the module also mentions the time, in a rule
// that nobody asks for: what isn't the same each time isn't remembered.
func snapshotOf(role, keySet string) *snapshot.Snapshot {
	module := "package envoy.authz\ndefault allow := false\nallow if {\n\tinput.attributes.request.http.method == \"GET\"\n\tinput.identity.claims.role == \"reader\"\n}\n"
	if role == rolePolicyEachTime {
		module += "now := time.now_ns()\n"
	}
	spec := &config.Policy{
		Name: "bench/shop",
		JWT: &config.JWT{Providers: []config.JWTProvider{{
			Name: "idp", Issuer: issuer, Audiences: []string{"shop"}, LocalJWKS: &config.Source{Inline: keySet},
			ClaimToHeaders: []config.ClaimToHeader{{Claim: "sub", Header: "x-user"}},
		}}},
		CORS: &config.CORS{AllowOrigins: []string{origin}},
		// A machine that others keep busy may stop a process for longer than the default timeout.
		OPA: &config.OPA{Timeout: time.Second, Modules: []config.Module{{Name: "bench.rego", Source: config.Source{Inline: module}}}},
	}
	return &snapshot.Snapshot{Policies: []snapshot.Policy{{Ref: spec.Ref(), Seal: "0123456789abcdef0123456789abcdef", Spec: spec}}}
}
