package policy_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// htpasswd is alice:secret and bob:pa:ss, both {SHA}, so that tests need not wait for hashes.
const htpasswd = "alice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nbob:{SHA}XyRLaTIb/WCdo8CuWc58gPVHl68=\n"

// keys are made once: RSA keys take long.
var keys = sync.OnceValue(func() (k struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

func jwks(tb testing.TB, public map[string]any) string {
	tb.Helper()
	set := jwk.NewSet()
	for kid, key := range public {
		k, err := jwk.FromRaw(key)
		if err != nil {
			tb.Fatal(err)
		}
		if err := k.Set(jwk.KeyIDKey, kid); err != nil {
			tb.Fatal(err)
		}
		if err := set.AddKey(k); err != nil {
			tb.Fatal(err)
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

func edKeys(tb testing.TB) string {
	return jwks(tb, map[string]any{"ed": keys().ed.Public()})
}

// sign makes a token of any header and claims with the Ed25519 key.
func sign(tb testing.TB, header, claims map[string]any) string {
	tb.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		tb.Fatal(err)
	}
	return signText(tb, string(h), string(c))
}

func signText(tb testing.TB, header, claims string) string {
	tb.Helper()
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	signature, err := keys().ed.Sign(rand.Reader, []byte(signed), crypto.Hash(0))
	if err != nil {
		tb.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// token is a good one of issuer "idp", with extra or replaced claims.
func token(tb testing.TB, claims map[string]any) string {
	tb.Helper()
	all := map[string]any{"iss": "idp", "sub": "carol", "aud": "api", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	return sign(tb, map[string]any{"alg": "EdDSA", "kid": "ed", "typ": "JWT"}, all)
}

func basicAuth(userinfo string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userinfo))
}

func bearer(token string) []string { return []string{"authorization", "Bearer " + token} }

func withBasic() *config.BasicAuth { return &config.BasicAuth{Users: config.Source{Inline: htpasswd}} }

func withJWT(tb testing.TB, edit ...func(*config.JWT)) *config.JWT {
	j := &config.JWT{Providers: []config.JWTProvider{{
		Name: "idp", Issuer: "idp", Audiences: []string{"api"},
		LocalJWKS:      &config.Source{Inline: edKeys(tb)},
		ClaimToHeaders: []config.ClaimToHeader{{Claim: "sub", Header: "X-User"}},
	}}}
	for _, e := range edit {
		e(j)
	}
	return j
}

func compile(tb testing.TB, spec *config.Policy, edit ...func(*policy.Deps)) *policy.Policy {
	tb.Helper()
	deps := policy.Deps{Data: config.Data{}}
	for _, e := range edit {
		e(&deps)
	}
	if spec.Name == "" {
		spec.Name = "team-a/api"
	}
	p, err := policy.Compile(spec, deps)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// request makes "METHOD path" with name, value, name, value… lines, from 192.0.2.7.
func request(line string, lines ...string) *exchange.Request {
	method, path, _ := strings.Cut(line, " ")
	fields := []exchange.Field{}
	for i := 0; i+1 < len(lines); i += 2 {
		fields = append(fields, exchange.Field{Name: lines[i], Value: lines[i+1]})
	}
	return exchange.NewRequest(
		exchange.Head{Method: method, Path: path, Authority: "api.example", Scheme: "https", Protocol: "HTTP/1.1", Time: time.Now()},
		exchange.Conn{Client: netip.MustParseAddr("192.0.2.7"), Peer: netip.MustParseAddrPort("192.0.2.7:4711")},
		exchange.NewHeader(fields...), exchange.Body{}, nil)
}

func check(tb testing.TB, p *policy.Policy, r *exchange.Request) exchange.Verdict {
	tb.Helper()
	v, err := p.Check(tb.Context(), r)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range append(v.Set, v.Add...) {
		for _, name := range v.Remove {
			if strings.EqualFold(f.Name, name) {
				tb.Errorf("S15: %q is both set and removed", name)
			}
		}
	}
	if !v.Allow && v.Reply == nil {
		tb.Error("a denial without a reply")
	}
	return v
}

// status is 200 for an allow, else the denial's.
func status(v exchange.Verdict) int {
	if v.Allow {
		return http.StatusOK
	}
	return v.Reply.Status()
}
