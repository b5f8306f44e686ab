package jwt

import (
	"strings"
	"time"
)

// maxSets bounds the verified tokens that one policy remembers: four times as many.
const maxSets = 2048

// entry is a verified token. Only verified ones are remembered, so nobody fills the memory with garbage, and each
// verifier, which is one generation of one policy, has its own: policies never share verdicts.
type entry struct {
	// text is the whole token, compared whole (S30).
	text     string
	provider *provider
	// keys is the set that verified it. After a rotation the token is verified again, so a withdrawn
	// key takes its tokens along.
	keys *KeySet
	// notAfter is the end of the token's life in Unix nanoseconds, skew included; 0: none.
	notAfter int64
	token    *Token
}

// remembered returns a token that was verified before and would still be: by a provider that looks where it
// was found, with keys that are still in force, and within its lifetime.
func (v *Verifier) remembered(hash uint64, text string, providers uint32, now time.Time) *Token {
	hit := v.verified.Get(hash, func(e *entry) bool {
		return e.text == text && v.mayUse(e.provider, providers) &&
			e.keys == e.provider.keys.current(now) && (e.notAfter == 0 || now.UnixNano() < e.notAfter)
	})
	if hit == nil {
		return nil
	}
	return hit.token
}

// remember keeps a copy of the text, which is a piece of its request's memory. One token may be remembered for
// several providers.
func (v *Verifier) remember(hash uint64, text string, verified entry) {
	verified.text = strings.Clone(text)
	v.verified.Put(hash, verified, func(e *entry) bool { return e.text == text && e.provider == verified.provider })
}
