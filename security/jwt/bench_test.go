package jwt_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// BenchmarkColdRS256 verifies tokens that were never seen, BenchmarkBareRS256 only their signature: the
// difference is what the checks cost.
func BenchmarkColdRS256(b *testing.B) {
	k := keys()
	v := local(b, keySet(b, member(b, k.rsa.Public(), map[string]any{"kid": "rsa"})), func(p *config.JWTProvider) {
		p.ClaimToHeaders = []config.ClaimToHeader{{Claim: "sub", Header: "x-user"}}
	})
	var tokens []string
	for i := range 20000 / 40 {
		tokens = append(tokens, sign(b, k.rsa, map[string]any{"alg": "RS256", "kid": "rsa"}, claims(map[string]any{"n": i, "scope": "read write", "azp": "app", "roles": []string{"a", "b"}})))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%len(tokens) == 0 { // a new verifier knows no token
			b.StopTimer()
			v = local(b, keySet(b, member(b, k.rsa.Public(), map[string]any{"kid": "rsa"})))
			b.StartTimer()
		}
		if _, err := v.Verify(request(tokens[i%len(tokens)])); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareRS256(b *testing.B) {
	k := keys()
	signed := []byte("header.payload")
	sig := signature(b, k.rsa, "RS256", string(signed))
	b.ReportAllocs()
	for b.Loop() {
		sum := sha256.Sum256(signed)
		if err := rsa.VerifyPKCS1v15(&k.rsa.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
			b.Fatal(err)
		}
	}
}
