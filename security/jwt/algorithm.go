package jwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms below
	_ "crypto/sha512"
	"fmt"
	"math/big"
)

// The limits of keys. RFC 7518 sections 3.3 and 3.5 ask for 2048 bits; a check with far more would be
// a way to keep a CPU busy.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// verifyKey verifies signatures of the algorithms it allows, and no others: the token only chooses
// among these (RFC 8725 section 3.1).
type verifyKey struct {
	kid    string
	allows map[string]checkFunc
}

type checkFunc func(signed string, signature []byte) bool

// verify looks the algorithm up among the key's, instead of choosing by the token and then checking.
func (k *verifyKey) verify(alg, signed string, signature []byte) error {
	check, allowed := k.allows[alg]
	if !allowed {
		return ErrAlgorithm
	}
	if !check(signed, signature) {
		return ErrSignature
	}
	return nil
}

// checksFor returns what a key of Go's crypto packages can verify; the error is for operators.
func checksFor(key any) (map[string]checkFunc, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return rsaChecks(key)
	case *ecdsa.PublicKey:
		return ecdsaChecks(key)
	case ed25519.PublicKey:
		check := func(signed string, signature []byte) bool { return ed25519.Verify(key, []byte(signed), signature) }
		return map[string]checkFunc{"EdDSA": check, "Ed25519": check}, nil
	case []byte:
		return hmacChecks(key)
	}
	return nil, fmt.Errorf("key type %T can't verify signatures", key)
}

// rsaChecks allows RS and PS for a key without alg, as RFC 7517 does; most issuers name one.
func rsaChecks(key *rsa.PublicKey) (map[string]checkFunc, error) {
	if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return nil, fmt.Errorf("RSA key of %d bits; %d to %d are allowed", bits, minRSABits, maxRSABits)
	}
	if key.E < 3 || key.E%2 == 0 {
		return nil, fmt.Errorf("RSA key with exponent %d", key.E)
	}
	checks := map[string]checkFunc{}
	for suffix, hash := range hashes {
		checks["RS"+suffix] = func(signed string, signature []byte) bool {
			return rsa.VerifyPKCS1v15(key, hash, digest(hash, signed), signature) == nil
		}
		// RFC 7518 section 3.5: the salt is as long as the hash.
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		checks["PS"+suffix] = func(signed string, signature []byte) bool {
			return rsa.VerifyPSS(key, hash, digest(hash, signed), signature, options) == nil
		}
	}
	return checks, nil
}

// ecdsaChecks allows one algorithm for each curve (RFC 7518 section 3.4). The signature is r and s side by
// side, each as long as the curve's order; other lengths would be other encodings of the same numbers.
func ecdsaChecks(key *ecdsa.PublicKey) (map[string]checkFunc, error) {
	var alg string
	var hash crypto.Hash
	switch key.Curve {
	case elliptic.P256():
		alg, hash = "ES256", crypto.SHA256
	case elliptic.P384():
		alg, hash = "ES384", crypto.SHA384
	case elliptic.P521():
		alg, hash = "ES512", crypto.SHA512
	default:
		return nil, fmt.Errorf("curve %s", key.Curve.Params().Name)
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	return map[string]checkFunc{alg: func(signed string, signature []byte) bool {
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key, digest(hash, signed), r, s)
	}}, nil
}

// hmacChecks leaves out the algorithms whose hash is longer than the secret (RFC 7518 section 3.2).
func hmacChecks(secret []byte) (map[string]checkFunc, error) {
	checks := map[string]checkFunc{}
	for suffix, hash := range hashes {
		if len(secret) < hash.Size() {
			continue
		}
		checks["HS"+suffix] = func(signed string, signature []byte) bool {
			mac := hmac.New(hash.New, secret)
			mac.Write([]byte(signed))
			return hmac.Equal(mac.Sum(nil), signature)
		}
	}
	if len(checks) == 0 {
		return nil, fmt.Errorf("symmetric key of %d bytes; HS256 needs 32, HS384 48, HS512 64", len(secret))
	}
	return checks, nil
}

var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

func digest(hash crypto.Hash, signed string) []byte {
	h := hash.New()
	h.Write([]byte(signed))
	return h.Sum(nil)
}
