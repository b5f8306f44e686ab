package jwt

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// The limits of a key set. A token without kid is tried with every key that allows its algorithm.
const (
	maxKeySet = 1 << 20
	maxKeys   = 64
)

// KeySet is an immutable set of keys that verify tokens. It is safe for concurrent use.
type KeySet struct {
	byKid   map[string][]*verifyKey
	all     []*verifyKey
	refused []string
	sum     [32]byte
}

// ParseKeySet reads a JWK Set (RFC 7517 section 5). Keys that can't or mustn't verify signatures are
// left out, and [KeySet.Refused] says why: private and encryption keys, short RSA keys and secrets,
// unknown types and curves, and keys that share kid and algorithm. A set without any usable key is an
// error.
func ParseKeySet(data []byte) (*KeySet, error) {
	if len(data) > maxKeySet {
		return nil, fmt.Errorf("key set is larger than %d bytes", maxKeySet)
	}
	// One key of a type nobody knows must not take the others with it.
	parsed, err := jwk.Parse(data, jwk.WithIgnoreParseError(true))
	if err != nil {
		return nil, errors.New("no JSON Web Key Set")
	}
	if parsed.Len() > maxKeys {
		return nil, fmt.Errorf("key set has %d keys; at most %d are supported", parsed.Len(), maxKeys)
	}
	set := &KeySet{byKid: map[string][]*verifyKey{}, sum: sha256.Sum256(data)}
	for i := range parsed.Len() {
		key, _ := parsed.Key(i)
		compiled, err := compileKey(key)
		if err != nil {
			set.refused = append(set.refused, fmt.Sprintf("key %d: %v", i, err))
			continue
		}
		set.all = append(set.all, compiled)
	}
	set.dropDuplicates()
	if len(set.all) == 0 {
		return nil, fmt.Errorf("key set has no usable key%s", set.because())
	}
	for _, key := range set.all {
		set.byKid[key.kid] = append(set.byKid[key.kid], key)
	}
	return set, nil
}

// Refused says, a line for each key that was left out, why.
func (s *KeySet) Refused() []string { return s.refused }

// Len returns the number of usable keys.
func (s *KeySet) Len() int { return len(s.all) }

func (s *KeySet) because() string {
	if len(s.refused) == 0 {
		return ""
	}
	return " (" + strings.Join(s.refused, "; ") + ")"
}

// dropDuplicates leaves out all of several keys that one header could mean.
func (s *KeySet) dropDuplicates() {
	type name struct{ kid, alg string }
	count := map[name]int{}
	for _, key := range s.all {
		for alg := range key.allows {
			count[name{key.kid, alg}]++
		}
	}
	kept := s.all[:0]
	for _, key := range s.all {
		duplicate := false
		for alg := range key.allows {
			duplicate = duplicate || key.kid != "" && count[name{key.kid, alg}] > 1
		}
		if duplicate {
			s.refused = append(s.refused, "several keys share one kid and algorithm")
			continue
		}
		kept = append(kept, key)
	}
	s.all = kept
}

// candidates returns the keys a header may mean. A key without kid may belong to any.
func (s *KeySet) candidates(h header) []*verifyKey {
	if !h.hasKid {
		return s.all
	}
	named, nameless := s.byKid[h.kid], s.byKid[""]
	switch {
	case h.kid == "" || len(nameless) == 0:
		return named
	case len(named) == 0:
		return nameless
	}
	return append(append(make([]*verifyKey, 0, len(named)+len(nameless)), named...), nameless...)
}

// compileKey turns a JWK into checks. Its errors name the member that is wrong, never its value: a private
// key published by mistake must not be in a status too.
func compileKey(key jwk.Key) (*verifyKey, error) {
	if private(key) {
		return nil, errors.New("private key; publish the public one")
	}
	if use := key.KeyUsage(); use != "" && use != string(jwk.ForSignature) {
		return nil, fmt.Errorf("use is %.16q, not \"sig\"", use)
	}
	if !verifies(key.KeyOps()) {
		return nil, errors.New("key_ops doesn't include \"verify\"")
	}
	var raw any
	if err := key.Raw(&raw); err != nil {
		return nil, errors.New("damaged key")
	}
	checks, err := checksFor(raw)
	if err != nil {
		return nil, err
	}
	if alg := key.Algorithm().String(); alg != "" {
		check, allowed := checks[alg]
		if !allowed {
			return nil, fmt.Errorf("alg %.16q doesn't fit the key", alg)
		}
		checks = map[string]checkFunc{alg: check}
	}
	return &verifyKey{kid: key.KeyID(), allows: checks}, nil
}

// private is true for keys that could also sign. Whoever publishes one has lost it.
func private(key jwk.Key) bool {
	if key.KeyType() == jwa.OctetSeq {
		return false
	}
	_, found := key.Get("d")
	return found
}

// verifies: without key_ops a key is for everything (RFC 7517 section 4.3).
func verifies(ops jwk.KeyOperationList) bool {
	if slices.Contains(ops, jwk.KeyOpVerify) {
		return true
	}
	return len(ops) == 0
}
