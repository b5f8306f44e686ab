package gatewaytest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"
)

// Issuer signs tokens with an Ed25519 key of its own.
type Issuer struct {
	URL  string
	key  ed25519.PrivateKey
	jwks string
}

// NewIssuer makes an issuer.
func NewIssuer(t testing.TB, url string) *Issuer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwks := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"k1","x":%q}]}`,
		base64.RawURLEncoding.EncodeToString(public))
	return &Issuer{URL: url, key: private, jwks: jwks}
}

// JWKS is the issuer's key set as one line of JSON.
func (i *Issuer) JWKS() string { return i.jwks }

// Token signs claims; iss, and exp in an hour, are added unless given.
func (i *Issuer) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.URL, "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed := encode([]byte(`{"alg":"EdDSA","kid":"k1","typ":"JWT"}`)) + "." + encode(payload)
	return signed + "." + encode(ed25519.Sign(i.key, []byte(signed)))
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
