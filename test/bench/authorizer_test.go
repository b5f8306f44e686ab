package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// The authorizer in process: the bytes of a CheckRequest as Envoy sends it, twelve lines and a token of
// eleven claims, to the bytes of the CheckResponse.

func server(tb testing.TB, spec *config.Policy) *extauthz.Server {
	tb.Helper()
	p, err := policy.Compile(spec, policy.Deps{CORSHeaders: true, Metadata: map[string]any{"seal": "0123456789abcdef"}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return extauthz.NewServer(extauthz.Always(p))
}

func message(tb testing.TB, authorization string) string {
	tb.Helper()
	lines := &corev3.HeaderMap{}
	for _, line := range [][2]string{
		{":authority", "shop.example"}, {":path", "/things?page=1"}, {":method", "GET"}, {":scheme", "http"}, {"authorization", authorization}, {"origin", origin},
		{"user-agent", "bench/1"}, {"accept", "application/json"}, {"accept-language", "en"}, {"x-forwarded-proto", "http"}, {"x-request-id", "8f0e7b1c"}, {"accept", "text/html"},
	} {
		lines.Headers = append(lines.Headers, &corev3.HeaderValue{Key: line[0], RawValue: []byte(line[1])})
	}
	address := &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "192.0.2.7", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 4711}}}}
	text, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{Address: address}, Destination: &authv3.AttributeContext_Peer{Address: address},
		Request:           &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Id: "8f0e7b1c", Method: "GET", Path: "/things?page=1", Host: "shop.example", Scheme: "http", Size: -1, Protocol: "HTTP/1.1", HeaderMap: lines}},
		ContextExtensions: map[string]string{"gatehouse.policy": "bench/shop"},
	}})
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// decide checks that the request is allowed, and measures the same one again and again.
func decide(b *testing.B, spec *config.Policy, authorization string) {
	b.Helper()
	s, text := server(b, spec), message(b, authorization)
	out := s.Decide(b.Context(), text, nil)
	allowed(b, out)
	b.ReportAllocs()
	for b.Loop() {
		out = s.Decide(b.Context(), text, out[:0])
	}
	allowed(b, out)
}

func allowed(tb testing.TB, out []byte) {
	tb.Helper()
	var answer authv3.CheckResponse
	if err := proto.Unmarshal(out, &answer); err != nil || answer.GetOkResponse() == nil {
		tb.Fatal(err, answer.String())
	}
}

// policyOf is that of a row, and the Authorization value of a token that it accepts.
func policyOf(tb testing.TB, role string) (spec *config.Policy, authorization string) {
	tb.Helper()
	keySet, token, err := newIssuer()
	if err != nil {
		tb.Fatal(err)
	}
	return snapshotOf(role, keySet).Policies[0].Spec, "Bearer " + token
}

func withoutRego(spec *config.Policy) *config.Policy {
	plain := *spec
	plain.OPA = nil
	return &plain
}

// TestWarmRequestsAllocateLittle holds P2's bars for allocations from a request's bytes to the answer's, where
// the request's memory and the answer's are the transport's. It can't be parallel: it counts the process's.
//
//nolint:paralleltest // see above
func TestWarmRequestsAllocateLittle(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector, for which the short tests are, makes pools forget")
	}
	remembered, token := policyOf(t, rolePolicy)
	eachTime, other := policyOf(t, rolePolicyEachTime)
	password, login := basicPolicy()
	for _, c := range []struct {
		name          string
		spec          *config.Policy
		authorization string
		most          float64
	}{
		{"a token seen before", withoutRego(remembered), token, 1},
		{"and a decision remembered", remembered, token, 1},
		{"and Rego evaluated", eachTime, other, 30},
		{"a password seen before", password, login, 3},
	} {
		s, text := server(t, c.spec), message(t, c.authorization)
		out := s.Decide(t.Context(), text, nil)
		allowed(t, out)
		if got := testing.AllocsPerRun(200, func() { out = s.Decide(t.Context(), text, out[:0]) }); got > c.most {
			t.Errorf("%s: %v allocations, at most %v were meant", c.name, got, c.most)
		}
		allowed(t, out)
	}
}

// BenchmarkRS256Warm: a token seen before, a claim as header, CORS. P2: at most 2 µs and 4 allocations.
func BenchmarkRS256Warm(b *testing.B) {
	spec, token := policyOf(b, rolePolicy)
	decide(b, withoutRego(spec), token)
}

// BenchmarkRegoRemembered adds one rule whose decision is remembered. P2: at most 2 µs.
func BenchmarkRegoRemembered(b *testing.B) {
	spec, token := policyOf(b, rolePolicy)
	decide(b, spec, token)
}

// BenchmarkRegoEachTime adds one rule that is evaluated. P2: below 10 µs and at most 80 allocations.
func BenchmarkRegoEachTime(b *testing.B) {
	spec, token := policyOf(b, rolePolicyEachTime)
	decide(b, spec, token)
}

// BenchmarkBasicWarm: a password seen before. P2: at most 1.2 µs.
func BenchmarkBasicWarm(b *testing.B) {
	spec, password := basicPolicy()
	decide(b, spec, password)
}

func basicPolicy() (spec *config.Policy, authorization string) {
	spec = &config.Policy{Name: "bench/basic", BasicAuth: &config.BasicAuth{Users: config.Source{Inline: "alice:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"}}}
	return spec, "Basic " + base64.StdEncoding.EncodeToString([]byte("alice:myPassword"))
}

// BenchmarkRS256Cold: a token that wasn't seen before, each time. P2: at most 1.25 × RS256Bare.
func BenchmarkRS256Cold(b *testing.B) {
	spec, key := signedPolicy(b)
	s := server(b, spec)
	const batch = 4096
	texts := make([]string, batch)
	out := []byte(nil)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if n%batch == 0 {
			b.StopTimer()
			for i := range texts {
				texts[i] = message(b, "Bearer "+signed(b, key, n+i))
			}
			b.StartTimer()
		}
		out = s.Decide(b.Context(), texts[n%batch], out[:0])
		n++
	}
	allowed(b, out)
}

// BenchmarkRS256Bare is the signature check alone: a hash and crypto/rsa.
func BenchmarkRS256Bare(b *testing.B) {
	_, key := signedPolicy(b)
	token := signed(b, key, 1)
	cut := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sum := sha256.Sum256([]byte(token[:cut]))
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
			b.Fatal(err)
		}
	}
}

func signedPolicy(b *testing.B) (*config.Policy, *rsa.PrivateKey) {
	b.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	keySet := `{"keys":[{"kty":"RSA","kid":"one","e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(key.N.Bytes()) + `"}]}`
	spec, _ := policyOf(b, rolePolicy)
	own := withoutRego(spec)
	jwt := *spec.JWT
	jwt.Providers = append([]config.JWTProvider(nil), jwt.Providers...)
	jwt.Providers[0].LocalJWKS = &config.Source{Inline: keySet}
	own.JWT = &jwt
	return own, key
}

func signed(b *testing.B, key *rsa.PrivateKey, n int) string {
	b.Helper()
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"one","typ":"JWT"}`))
	claims := `{"iss":"` + issuer + `","sub":"user-` + strconv.Itoa(n) + `","aud":"shop","exp":` + strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10) +
		`,"email":"ada@app.example","role":"reader","scope":"openid profile orders:read","realm":{"roles":["reader","buyer"]}}`
	text := header + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}
