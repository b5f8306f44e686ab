package jwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"hash"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

type keyring struct {
	rsa, rsa2  *rsa.PrivateKey
	short      *rsa.PrivateKey
	p256, p384 *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
	secret     []byte
}

// keys are made once: RSA keys take long.
var keys = sync.OnceValue(func() (k keyring) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.rsa2, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.short, _ = rsa.GenerateKey(rand.Reader, 1024)
	k.p256, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.p384, _ = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	k.secret = []byte(strings.Repeat("0123456789abcdef", 2))
	return k
})

// member is a JWK of a key with further members.
func member(tb testing.TB, key any, extra map[string]any) map[string]any {
	tb.Helper()
	k, err := jwk.FromRaw(key)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(k)
	if err != nil {
		tb.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		tb.Fatal(err)
	}
	maps.Copy(m, extra)
	return m
}

func keySet(tb testing.TB, members ...map[string]any) string {
	tb.Helper()
	text, err := json.Marshal(map[string]any{"keys": members})
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// sign makes a token; key is any private key of the ring or a secret.
func sign(tb testing.TB, key any, header, claims map[string]any) string {
	tb.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature(tb, key, header["alg"].(string), signed))
}

func signature(tb testing.TB, key any, alg, signed string) (sig []byte) {
	tb.Helper()
	kind := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[max(0, len(alg)-3):]]
	var sum []byte
	if kind != 0 {
		h := kind.New()
		h.Write([]byte(signed))
		sum = h.Sum(nil)
	}
	var err error
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if strings.HasPrefix(alg, "PS") {
			sig, err = rsa.SignPSS(rand.Reader, key, kind, sum, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			sig, err = rsa.SignPKCS1v15(rand.Reader, key, kind, sum)
		}
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, key, sum)
		size := (key.Curve.Params().BitSize + 7) / 8
		sig, err = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), e
	case ed25519.PrivateKey:
		sig = ed25519.Sign(key, []byte(signed))
	case []byte:
		mac := hmac.New(map[string]func() hash.Hash{"256": sha256.New, "384": sha512.New384, "512": sha512.New}[alg[2:]], key)
		mac.Write([]byte(signed))
		sig = mac.Sum(nil)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return sig
}

func claims(extra ...map[string]any) map[string]any {
	all := map[string]any{"iss": "idp", "sub": "carol", "exp": time.Now().Add(time.Hour).Unix()}
	for _, e := range extra {
		maps.Copy(all, e)
	}
	return all
}

func local(tb testing.TB, set string, edit ...func(*config.JWTProvider)) *jwt.Verifier {
	tb.Helper()
	p := config.JWTProvider{Name: "idp", Issuer: "idp", LocalJWKS: &config.Source{Inline: set}}
	for _, e := range edit {
		e(&p)
	}
	v, err := jwt.Compile(&config.JWT{Providers: []config.JWTProvider{p}}, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func request(token string) *exchange.Request {
	return exchange.NewRequest(exchange.Head{Method: "GET", Path: "/"}, exchange.Conn{},
		exchange.NewHeader(exchange.Field{Name: "authorization", Value: "Bearer " + token}), exchange.Body{}, nil)
}
