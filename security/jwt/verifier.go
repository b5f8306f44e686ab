package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
	"github.com/gatehouse-proxy/gatehouse/security/internal/setcache"
)

// maxProviders is the number of bits of a location's providers. Envoy Gateway allows 16.
const maxProviders = 32

// Verifier verifies the tokens of requests for one policy. It is safe for concurrent use. Close it when
// the policy is no longer in force, so that its keys are no longer fetched.
type Verifier struct {
	providers []*provider
	locations []location
	verified  *setcache.Cache[entry]
	seed      maphash.Seed
	headers   headerCache
	// Now is the clock; tests set it before the first use. Default [time.Now].
	Now func() time.Time
}

// Token is a verified token. It is shared by all requests that carry it and must not be changed.
type Token struct {
	Identity *identity.Identity
	// Headers are the provider's claimToHeaders, names in lower case, each once.
	Headers []exchange.Field
	// Metadata is the payload under the provider's name: strings, float64s, bools, nil, []any and
	// map[string]any.
	Metadata map[string]any
	// RecomputeRoute is the provider's setting.
	RecomputeRoute bool

	prepared atomic.Pointer[exchange.Prepared]
}

// Prepared returns what [Token.Prepare] was given, nil before.
func (t *Token) Prepared() *exchange.Prepared { return t.prepared.Load() }

// Prepare keeps the verdict that requests with the token get, where nothing else about them matters. A Token
// belongs to one policy and has room for one; the first counts.
func (t *Token) Prepare(v exchange.Verdict) *exchange.Prepared {
	t.prepared.CompareAndSwap(nil, exchange.Prepare(v))
	return t.prepared.Load()
}

// Compile checks and compiles spec. fetcher may be nil if no provider has a remote key set. The error
// names the provider and the field; nothing stays registered with the fetcher then.
func Compile(spec *config.JWT, data config.Data, fetcher *Fetcher) (*Verifier, error) {
	if len(spec.Providers) == 0 || len(spec.Providers) > maxProviders {
		return nil, fmt.Errorf("jwt.providers: %d providers; 1 to %d are supported", len(spec.Providers), maxProviders)
	}
	v := &Verifier{verified: setcache.New[entry](maxSets), seed: maphash.MakeSeed(), Now: time.Now}
	names := map[string]bool{}
	for i := range spec.Providers {
		p, err := compileProvider(&spec.Providers[i], data, fetcher)
		if err == nil && names[p.name] {
			err = errors.New("name: used by an earlier provider too")
		}
		if p != nil {
			v.providers = append(v.providers, p)
			names[p.name] = true
		}
		if err == nil {
			v.locations, err = addLocations(v.locations, spec.Providers[i].ExtractFrom, 1<<i)
		}
		if err != nil {
			v.Close()
			return nil, fmt.Errorf("jwt.providers[%d] %q: %w", i, spec.Providers[i].Name, err)
		}
	}
	v.keepIssuersApart()
	return v, nil
}

// keepIssuersApart tells providers without an issuer which are another's (S27).
func (v *Verifier) keepIssuersApart() {
	var taken []string
	for _, p := range v.providers {
		if p.issuer != "" {
			taken = append(taken, p.issuer)
		}
	}
	for _, p := range v.providers {
		if p.issuer == "" {
			p.taken = taken
		}
	}
}

// Close ends the fetching of keys that nobody else uses. Verify may still be called, with the keys as
// they are.
func (v *Verifier) Close() {
	for _, p := range v.providers {
		p.releaseKeys()
	}
}

// HeaderNames returns, in lower case, every header that some provider may write.
func (v *Verifier) HeaderNames() []string {
	var names []string
	for _, p := range v.providers {
		for i := range p.headers {
			names = append(names, p.headers[i].header)
		}
	}
	return names
}

// Verify finds the request's tokens and verifies every one of them (S29); each must satisfy a provider
// that looks where the token was found. The result is the first token's; the others must be of the same
// issuer and subject, for the upstream may go by any of them (S13). The error is [ErrMissing], or
// is [ErrInvalid] or [ErrUnavailable] by errors.Is. Verify never waits for the network.
func (v *Verifier) Verify(r *exchange.Request) (*Token, error) {
	now := v.Now()
	var first *Token
	unavailable := false
	for i := range v.locations {
		text, found, err := v.locations[i].find(r)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		token, err := v.verify(text, v.locations[i].providers, now)
		switch {
		case errors.Is(err, ErrUnavailable):
			unavailable = true
		case err != nil:
			return nil, err
		case first == nil:
			first = token
		case !sameCaller(first, token):
			return nil, ErrAmbiguous
		}
	}
	switch {
	case unavailable:
		return nil, ErrUnavailable
	case first == nil:
		return nil, ErrMissing
	}
	return first, nil
}

// sameCaller reports whether two verified tokens speak of one caller: an access token and an ID token do, as a
// rule. Tokens without a subject are alike only if they are the same token.
func sameCaller(a, b *Token) bool {
	if a == b {
		return true
	}
	issuer, _ := a.Identity.Claims["iss"].(string)
	other, _ := b.Identity.Claims["iss"].(string)
	return issuer == other && a.Identity.Username != "" && a.Identity.Username == b.Identity.Username
}

// verify judges one token: valid for any provider, else unavailable if one couldn't say, else the error
// of the provider that came furthest.
func (v *Verifier) verify(text string, providers uint32, now time.Time) (*Token, error) {
	if len(text) > maxToken {
		return nil, ErrMalformed
	}
	hash := maphash.String(v.seed, text)
	if hit := v.remembered(hash, text, providers, now); hit != nil {
		return hit, nil
	}
	token, err := split(text)
	if err != nil {
		return nil, err
	}
	if token.header, err = v.headers.parse(token.segment); err != nil {
		return nil, err
	}
	verified, err := v.verifyCold(&token, providers, now)
	if err != nil {
		return nil, err
	}
	v.remember(hash, text, verified)
	return verified.token, nil
}

// mayUse keeps a token that was verified in one place from passing in another, where its provider doesn't
// look.
func (v *Verifier) mayUse(p *provider, providers uint32) bool {
	for i := range v.providers {
		if v.providers[i] == p {
			return providers&(1<<i) != 0
		}
	}
	return false
}

// verifyCold tries the providers in their order. An error that isn't about the key says more than one that
// is, so it is the one reported.
func (v *Verifier) verifyCold(token *compact, providers uint32, now time.Time) (entry, error) {
	verdict := error(ErrUnknown)
	unavailable := false
	for i, p := range v.providers {
		if providers&(1<<i) == 0 {
			continue
		}
		keys := p.keys.current(now)
		verified, notAfter, err := p.verify(token, keys, now)
		if err == nil {
			v.headers.learn(token.segment, token.header)
			return entry{provider: p, keys: keys, notAfter: notAfter, token: verified}, nil
		}
		if errors.Is(err, ErrUnavailable) {
			unavailable = true
		} else if !errors.Is(err, ErrUnknown) {
			verdict = err
		}
	}
	if unavailable {
		return entry{}, ErrUnavailable
	}
	return entry{}, verdict
}

// verify checks one token against one provider. The payload is read after the signature is known to be
// good; without keys it is read only to tell a token that could never pass from one that might.
func (p *provider) verify(token *compact, keys *KeySet, now time.Time) (*Token, int64, error) {
	if keys == nil {
		if _, _, err := p.claimsOf(token.payload, now); err != nil {
			return nil, 0, err
		}
		return nil, 0, ErrUnavailable
	}
	if err := p.checkSignature(token, keys); err != nil {
		if errors.Is(err, ErrUnknown) {
			p.reportUnknown(token, now)
		}
		return nil, 0, err
	}
	claims, notAfter, err := p.claimsOf(token.payload, now)
	if err != nil {
		return nil, 0, err
	}
	fields, err := p.fields(claims)
	if err != nil {
		return nil, 0, err
	}
	subject, _ := claims["sub"].(string)
	return &Token{
		Identity:       &identity.Identity{Method: identity.JWT, Username: subject, Provider: p.name, Claims: claims},
		Headers:        fields,
		Metadata:       map[string]any{p.name: plain(claims)},
		RecomputeRoute: p.recompute,
	}, notAfter, nil
}

// reportUnknown asks for fresh keys if the token claims to be this provider's: another issuer's tokens,
// which every provider of a policy sees, are no sign of a rotation.
func (p *provider) reportUnknown(token *compact, now time.Time) {
	if _, _, err := p.claimsOf(token.payload, now); err == nil {
		p.keys.unknownKid()
	}
}

// checkSignature tries at most maxKeys keys, and with a kid usually one.
func (p *provider) checkSignature(token *compact, keys *KeySet) error {
	candidates := keys.candidates(token.header)
	if len(candidates) == 0 {
		return ErrUnknown
	}
	signature, err := decodeSegment(token.signature)
	if err != nil {
		return err
	}
	verdict := error(ErrAlgorithm)
	for _, key := range candidates {
		err := key.verify(token.alg, token.signed, signature)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrSignature) {
			verdict = err
		}
	}
	return verdict
}

// plain turns numbers into float64s, which is what dynamic metadata can hold.
func plain(value any) any {
	switch value := value.(type) {
	case json.Number:
		number, err := value.Float64()
		if err != nil { // beyond the range of a float64: the text is truer than an infinity
			return value.String()
		}
		return number
	case []any:
		out := make([]any, len(value))
		for i := range value {
			out[i] = plain(value[i])
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(value))
		for name := range value {
			out[name] = plain(value[name])
		}
		return out
	}
	return value
}
