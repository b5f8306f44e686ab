package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"text/template"
	"time"
)

// keys are made at each start: nobody should come to trust a key that everybody can read here.
type keys struct {
	signing     *ecdsa.PrivateKey // of the demo identity provider, ES256
	certificate string            // PEM, for 127.0.0.1 and localhost, self-signed
	key         string            // PEM
}

func newKeys() (*keys, error) {
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	server, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	certificate, err := x509.CreateCertificate(rand.Reader, template509(now), template509(now), &server.PublicKey, server)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server)
	if err != nil {
		return nil, err
	}
	return &keys{signing: signing, certificate: armour("CERTIFICATE", certificate), key: armour("PRIVATE KEY", key)}, nil
}

func template509(now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), // browsers refuse two certificates with one number
		Subject:      pkix.Name{CommonName: "Gatehouse quickstart"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(0, 0, 30),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func armour(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// token returns a token of the demo identity provider that is valid for eight hours: {"alg":"ES256"}
// as of RFC 7518, section 3.4.
func (k *keys) token() (string, error) {
	now := time.Now()
	claims := map[string]any{
		"iss": "https://idp.demo.example", "aud": "quickstart", "sub": "alice",
		"iat": now.Unix(), "exp": now.Add(8 * time.Hour).Unix(),
		"realm": map[string]any{"roles": []string{"reader", "editor"}},
	}
	signed := part(map[string]any{"alg": "ES256", "kid": "demo"}) + "." + part(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, k.signing, digest[:])
	if err != nil {
		return "", err
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func part(v any) string {
	text, err := json.Marshal(v)
	if err != nil { // maps of text, numbers and lists always marshal
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// keysManifest is keys.yaml with the fresh public key.
func (k *keys) keysManifest() []byte {
	point, err := k.signing.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		panic(err)
	}
	jwk := map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "demo",
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}
	text, err := json.Marshal(map[string]any{"keys": []any{jwk}})
	if err != nil {
		panic(err)
	}
	return fill(keysTemplate, map[string]string{"JWKS": string(text)})
}

// tlsManifest is tls.yaml with the fresh certificate.
func (k *keys) tlsManifest() []byte {
	return fill(tlsTemplate, map[string]string{"Certificate": indent(k.certificate), "Key": indent(k.key)})
}

const keysTemplate = `apiVersion: v1
kind: ConfigMap
metadata:
  name: demo-idp-keys
  namespace: demo
data:
  jwks: '{{.JWKS}}'
`

const tlsTemplate = `apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata:
  name: demo-tls
  namespace: demo
stringData:
  tls.crt: |
{{.Certificate}}
  tls.key: |
{{.Key}}
`

func fill(text string, values map[string]string) []byte {
	var b bytes.Buffer
	if err := template.Must(template.New("").Parse(text)).Execute(&b, values); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}
