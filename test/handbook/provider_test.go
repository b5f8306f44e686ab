package handbook_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/netnstest"
)

const (
	issuer       = "https://example.auth0.com/"
	providerHost = "example.auth0.com"
	keySetPath   = "/.well-known/jwks.json"
)

// identityProvider stands for example.auth0.com, under its name and port.
type identityProvider struct {
	key *rsa.PrivateKey
	// trusted is the environment of a process that trusts its certificate.
	trusted []string

	certificate tls.Certificate
	keySet      atomic.Pointer[[]byte]
	asked       atomic.Int32
}

func newIdentityProvider(t *testing.T) *identityProvider {
	t.Helper()
	netnstest.Resolve(t, providerHost)
	p := &identityProvider{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: providerHost}, DNSNames: []string{providerHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, // so that it is its own authority
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	p.certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	p.trusted = []string{"SSL_CERT_FILE=" + file}
	return p
}

// serve opens https://example.auth0.com until the test ends.
func (p *identityProvider) serve(t *testing.T) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:443")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{p.certificate}, MinVersion: tls.VersionTLS12},
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != providerHost || r.URL.Path != keySetPath {
				http.NotFound(w, r)
				return
			}
			p.asked.Add(1)
			_, _ = w.Write(*p.keySet.Load())
		}),
	}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	t.Cleanup(func() { _ = server.Close() })
}

// fetches counts how often the key set was asked for.
func (p *identityProvider) fetches() int { return int(p.asked.Load()) }

// publish makes keys the whole key set.
func (p *identityProvider) publish(t *testing.T, keys ...*rsa.PrivateKey) {
	t.Helper()
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	for _, key := range keys {
		set.Keys = append(set.Keys, map[string]string{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": p.kid(key), "n": encodeBytes(key.N.Bytes()), "e": "AQAB",
		})
	}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	p.keySet.Store(&text)
}

// kid is a key's id, made from the key.
func (*identityProvider) kid(key *rsa.PrivateKey) string {
	sum := sha256.Sum256(key.N.Bytes())
	return encodeBytes(sum[:8])
}

// token is a good token of alice, but for the claims given.
func (p *identityProvider) token(t *testing.T, key *rsa.PrivateKey, changed claims) string {
	t.Helper()
	return p.sign(t, key, p.kid(key), changed)
}

func (*identityProvider) sign(t *testing.T, key *rsa.PrivateKey, kid string, changed claims) string {
	t.Helper()
	all := claims{"iss": issuer, "aud": "https://api.example.com", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, changed)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	signed := strings.Join([]string{encodeSegment(t, claims{"alg": "RS256", "typ": "JWT", "kid": kid}), encodeSegment(t, all)}, ".")
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encodeBytes(signature)
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encodeSegment(t *testing.T, members claims) string {
	t.Helper()
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return encodeBytes(text)
}

func encodeBytes(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
