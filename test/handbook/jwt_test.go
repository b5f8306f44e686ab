package handbook_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// claims are a token's; a nil value leaves a claim out.
type claims = map[string]any

func TestExample17JWT(t *testing.T) {
	isolated(t, func(t *testing.T) {
		b, provider := backend(t), newIdentityProvider(t)
		provider.publish(t, provider.key)
		g := gatewaytest.Start(t, nil, files(example("base"), example("17-sp-jwt")),
			gatewaytest.Args("--allow-private-jwks"), gatewaytest.Env(provider.trusted...))
		good := provider.token(t, provider.key, claims{})
		t.Run("without the provider's keys nothing passes", func(t *testing.T) {
			wantStatus(t, get(t, bearer(good)), http.StatusServiceUnavailable)
			wantStatus(t, get(t, "X-User-ID: root"), http.StatusUnauthorized)
		})
		provider.serve(t)
		gatewaytest.Await(t, gatewayURL+"/", http.StatusOK, host, bearer(good))
		t.Run("the backend learns who a token is for", func(t *testing.T) { testIdentities(t, provider) })
		before := len(b.Requests())
		t.Run("bad tokens are refused", func(t *testing.T) { testBadTokens(t, provider) })
		if n := len(b.Requests()) - before; n != 0 {
			t.Errorf("%d requests reached the backend", n)
		}
		wantAbsent(t, g, good) // not even the one that came in a query
		t.Run("new keys are fetched and old ones forgotten", func(t *testing.T) { testRotation(t, provider, good) })
	})
}

// TestExample17JWTPrivateKeySet: a SecurityPolicy must not make the gateway call what only it can reach.
func TestExample17JWTPrivateKeySet(t *testing.T) {
	isolated(t, func(t *testing.T) {
		b, provider := backend(t), newIdentityProvider(t)
		provider.publish(t, provider.key)
		provider.serve(t)
		g := gatewaytest.Start(t, nil, files(example("base"), example("17-sp-jwt")), gatewaytest.Env(provider.trusted...))
		wantStatus(t, get(t, bearer(provider.token(t, provider.key, claims{}))), http.StatusServiceUnavailable)
		gatewaytest.Eventually(t, "the log names the reason", func() error {
			return logged(g, "https://example.auth0.com/.well-known/jwks.json", "private")
		})
		if n := len(b.Requests()); n != 0 {
			t.Errorf("%d requests reached the backend", n)
		}
	})
}

func testIdentities(t *testing.T, provider *identityProvider) {
	good := provider.token(t, provider.key, claims{})
	for name, test := range map[string]struct {
		path   string
		header []string
		want   []string
	}{
		"a good token":                {header: []string{bearer(good)}, want: []string{"alice"}},
		"a forged identity":           {header: []string{bearer(good), "X-User-ID: root"}, want: []string{"alice"}},
		"a forged identity, repeated": {header: []string{"x-user-id: root", bearer(good), "X-USER-ID: admin"}, want: []string{"alice"}},
		"another case of the scheme":  {header: []string{"Authorization: bEARER " + good}, want: []string{"alice"}},
		"a token in the query":        {path: "?access_token=" + good, want: []string{"alice"}},
		"one of several audiences": {
			header: []string{bearer(provider.token(t, provider.key, claims{"aud": []string{"other", "https://api.example.com"}}))},
			want:   []string{"alice"},
		},
		"a forged identity, and a token without one": {
			header: []string{bearer(provider.token(t, provider.key, claims{"sub": nil})), "X-User-ID: root"},
		},
	} {
		a := gatewaytest.Get(t, gatewayURL+"/"+test.path, append([]string{host}, test.header...)...)
		if a.Status != http.StatusOK {
			t.Errorf("%s: status %d: %s", name, a.Status, a.Body)
			continue
		}
		t.Run(name, func(t *testing.T) { wantHeader(t, a.Seen.Header, "X-User-ID", test.want...) })
	}
}

func testBadTokens(t *testing.T, provider *identityProvider) {
	good := provider.token(t, provider.key, claims{})
	sign := func(c claims) string { return provider.token(t, provider.key, c) }
	parts := strings.Split(good, ".")
	otherParts := strings.Split(sign(claims{"sub": "root"}), ".")
	public, err := x509.MarshalPKIXPublicKey(&provider.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	confused := encodeSegment(t, claims{"alg": "HS256", "kid": provider.kid(provider.key)}) + "." + parts[1]
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	mac.Write([]byte(confused))
	unsigned := encodeSegment(t, claims{"alg": "none"}) + "." + parts[1] + "."
	const invalid = `Bearer realm="tenant/jwt-auth", error="invalid_token"`
	for name, test := range map[string]struct {
		header    []string
		challenge string
	}{
		"no token":                      {nil, `Bearer realm="tenant/jwt-auth"`},
		"a forged identity and no more": {[]string{"X-User-ID: root"}, `Bearer realm="tenant/jwt-auth"`},
		"another audience":              {[]string{bearer(sign(claims{"aud": "https://api.example.org"}))}, invalid},
		"no audience":                   {[]string{bearer(sign(claims{"aud": nil}))}, invalid},
		"another issuer":                {[]string{bearer(sign(claims{"iss": "https://evil.example/"}))}, invalid},
		"the issuer without its slash":  {[]string{bearer(sign(claims{"iss": "https://example.auth0.com"}))}, invalid},
		"no issuer":                     {[]string{bearer(sign(claims{"iss": nil}))}, invalid},
		"expired":                       {[]string{bearer(sign(claims{"exp": time.Now().Add(-time.Hour).Unix()}))}, invalid},
		"not valid yet":                 {[]string{bearer(sign(claims{"nbf": time.Now().Add(time.Hour).Unix()}))}, invalid},
		"unsigned":                      {[]string{bearer(unsigned)}, invalid},
		"unsigned, another spelling":    {[]string{bearer(encodeSegment(t, claims{"alg": "nOnE"}) + "." + parts[1] + ".")}, invalid},
		"the signature left out":        {[]string{bearer(parts[0] + "." + parts[1] + ".")}, invalid},
		"the signature of another":      {[]string{bearer(parts[0] + "." + otherParts[1] + "." + parts[2])}, invalid},
		"the public key as HMAC secret": {[]string{bearer(confused + "." + encodeBytes(mac.Sum(nil)))}, invalid},
		"a stranger's key, our key id":  {[]string{bearer(provider.sign(t, newKey(t), provider.kid(provider.key), claims{}))}, invalid},
		"no token at all":               {[]string{bearer("alice")}, invalid},
		"a password":                    {[]string{basic("alice", "secret")}, `Bearer realm="tenant/jwt-auth"`},
	} {
		a := get(t, test.header...)
		if a.Status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, want 401", name, a.Status)
		}
		t.Run(name, func(t *testing.T) { wantHeader(t, a.Header, "WWW-Authenticate", test.challenge) })
	}
	t.Run("two tokens", func(t *testing.T) {
		wantStatus(t, get(t, bearer(good), bearer(unsigned)), http.StatusUnauthorized)
		wantStatus(t, get(t, bearer(unsigned), bearer(good)), http.StatusUnauthorized)
	})
}

// testRotation takes some ten seconds, for unknown key ids cause no more than one fetch in that time.
func testRotation(t *testing.T, provider *identityProvider, old string) {
	key := newKey(t)
	provider.publish(t, key)
	rotated := provider.token(t, key, claims{"sub": "bob"})
	every := time.NewTicker(50 * time.Millisecond)
	defer every.Stop()
	deadline := time.After(gatewaytest.Patience)
	for {
		a := get(t, bearer(rotated))
		if a.Status == http.StatusOK {
			wantHeader(t, a.Seen.Header, "X-User-ID", "bob")
			break
		}
		wantStatus(t, a, http.StatusUnauthorized)
		select {
		case <-every.C:
		case <-deadline:
			t.Fatalf("the new key isn't known after %v", gatewaytest.Patience)
		}
	}
	wantStatus(t, get(t, bearer(old)), http.StatusUnauthorized)
	if n := provider.fetches(); n > 3 {
		t.Errorf("%d fetches", n)
	}
}

func bearer(token string) string { return "Authorization: Bearer " + token }
