package bundle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	opabundle "github.com/open-policy-agent/opa/v1/bundle"
)

// keyID is the only name under which a key is known, so that the one in a bundle's signature chooses
// nothing.
const keyID = "policy"

// minSecret is in bytes: an HMAC's secret should be as long as its hash (RFC 7518 section 3.2).
const minSecret = 32

// verification returns how a bundle must be signed. The algorithm goes by the key and never by the bundle.
func verification(key []byte, algorithm string) (*opabundle.VerificationConfig, error) {
	algorithms, text, err := algorithmsOf(key)
	if err != nil {
		return nil, err
	}
	if algorithm == "" {
		algorithm = algorithms[0]
	}
	if !slices.Contains(algorithms, algorithm) {
		return nil, fmt.Errorf("signing.algorithm: %.16q doesn't fit the key; use one of %s", algorithm, strings.Join(algorithms, ", "))
	}
	keys := map[string]*opabundle.KeyConfig{keyID: {Key: text, Algorithm: algorithm}}
	return opabundle.NewVerificationConfig(keys, keyID, "", nil), nil
}

// algorithmsOf lists what a key can verify, the usual first.
func algorithmsOf(key []byte) (algorithms []string, text string, err error) {
	block, rest := pem.Decode(key)
	if block == nil {
		secret := bytes.TrimRight(key, "\r\n")
		if len(secret) < minSecret || bytes.Contains(secret, []byte("-----BEGIN")) {
			return nil, "", errKey
		}
		return []string{"HS256", "HS384", "HS512"}, string(secret), nil
	}
	if strings.Contains(block.Type, "PRIVATE") || bytes.Contains(rest, []byte("PRIVATE KEY")) {
		return nil, "", errPrivateKey
	}
	public, err := publicKey(block)
	if err != nil {
		return nil, "", errKey
	}
	switch public := public.(type) {
	case *rsa.PublicKey:
		if public.N.BitLen() >= 2048 {
			return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, string(pem.EncodeToMemory(block)), nil
		}
	case *ecdsa.PublicKey:
		if algorithm := map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[public.Params().BitSize]; algorithm != "" {
			return []string{algorithm}, string(pem.EncodeToMemory(block)), nil
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}, string(pem.EncodeToMemory(block)), nil
	}
	return nil, "", errKey
}

func publicKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}
