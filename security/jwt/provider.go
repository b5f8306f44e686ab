package jwt

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// DefaultClockSkew is how far an issuer's clock and ours may differ when a policy doesn't say.
const DefaultClockSkew = 60 * time.Second

// provider is one issuer of a policy.
type provider struct {
	name        string
	issuer      string
	taken       []string // the issuers of the policy's other providers, if this one names none
	audiences   []string
	skew        time.Duration
	requireExp  bool
	recompute   bool
	headers     []claimHeader
	keys        keySource
	releaseKeys func()
}

// keySource gives the keys that are in force. unknownKid is called when a token names a key that
// isn't among them; it never blocks.
type keySource interface {
	current(now time.Time) *KeySet
	unknownKid()
}

// fixedKeys are a local JWKS.
type fixedKeys struct{ set *KeySet }

func (f fixedKeys) current(time.Time) *KeySet { return f.set }
func (fixedKeys) unknownKid()                 {}

func compileProvider(spec *config.JWTProvider, data config.Data, fetcher *Fetcher) (*provider, error) {
	p := &provider{
		name: spec.Name, issuer: spec.Issuer, audiences: spec.Audiences,
		requireExp: spec.RequireExpiration, recompute: spec.RecomputeRoute,
		skew: spec.ClockSkew, releaseKeys: func() {},
	}
	switch {
	case p.name == "":
		return nil, errors.New("name: a provider needs one")
	case p.skew == 0:
		p.skew = DefaultClockSkew
	case p.skew < 0:
		p.skew = 0
	}
	for i, spec := range spec.ClaimToHeaders {
		h, err := compileClaimHeader(spec)
		if err != nil {
			return nil, fmt.Errorf("claimToHeaders[%d]: %w", i, err)
		}
		p.headers = append(p.headers, h)
	}
	return p, p.compileKeys(spec, data, fetcher)
}

func (p *provider) compileKeys(spec *config.JWTProvider, data config.Data, fetcher *Fetcher) error {
	switch {
	case (spec.LocalJWKS == nil) == (spec.RemoteJWKS == nil):
		return errors.New("exactly one of localJWKS and remoteJWKS must be set")
	case spec.LocalJWKS != nil:
		text, err := data.Resolve(*spec.LocalJWKS)
		if err != nil {
			return fmt.Errorf("localJWKS: %w", err)
		}
		set, err := ParseKeySet(text)
		if err != nil {
			return fmt.Errorf("localJWKS: %w", err)
		}
		p.keys = fixedKeys{set}
		return nil
	}
	if fetcher == nil {
		return errors.New("remoteJWKS: this program fetches no keys; use localJWKS")
	}
	lease, err := fetcher.register(spec.RemoteJWKS, data)
	if err != nil {
		return fmt.Errorf("remoteJWKS: %w", err)
	}
	p.keys, p.releaseKeys = lease, lease.release
	return nil
}

// claimsOf checks a payload against what the provider demands of it. The caller has verified the
// signature, or wants to know only whether that would be worth waiting for.
func (p *provider) claimsOf(payload string, now time.Time) (claims map[string]any, notAfter int64, err error) {
	raw, err := decodeSegment(payload)
	if err != nil {
		return nil, 0, err
	}
	if claims, err = decodeObject(raw); err != nil {
		return nil, 0, err
	}
	if !p.acceptsIssuer(claims) {
		return nil, 0, ErrIssuer
	}
	if !p.acceptsAudience(claims["aud"]) {
		return nil, 0, ErrAudience
	}
	notAfter, err = p.lifetime(claims, now)
	return claims, notAfter, err
}

// acceptsIssuer compares exactly. A provider without an issuer vouches for any but those that another provider
// of the policy has keys for (RFC 8725 section 3.8).
func (p *provider) acceptsIssuer(claims map[string]any) bool {
	issuer, isText := claims["iss"].(string)
	if _, found := claims["iss"]; p.issuer == "" {
		return isText == found && !slices.Contains(p.taken, issuer)
	}
	return isText && issuer == p.issuer
}

// acceptsAudience compares exactly; aud is a string or an array of strings (RFC 7519 section 4.1.3).
func (p *provider) acceptsAudience(aud any) bool {
	switch aud := aud.(type) {
	case nil:
		return len(p.audiences) == 0
	case string:
		return len(p.audiences) == 0 || slices.Contains(p.audiences, aud)
	case []any:
		accepted := len(p.audiences) == 0
		for _, element := range aud {
			text, ok := element.(string)
			if !ok {
				return false
			}
			accepted = accepted || slices.Contains(p.audiences, text)
		}
		return accepted
	}
	return false
}

// lifetime checks exp and nbf (RFC 7519 sections 4.1.4 and 4.1.5).
func (p *provider) lifetime(claims map[string]any, now time.Time) (notAfter int64, err error) {
	exp, hasExp, err := instant(claims, "exp")
	if err != nil {
		return 0, err
	}
	nbf, hasNbf, err := instant(claims, "nbf")
	if err != nil {
		return 0, err
	}
	if _, _, err := instant(claims, "iat"); err != nil {
		return 0, err
	}
	if hasNbf && now.Add(p.skew).UnixNano() < nbf {
		return 0, ErrNotYet
	}
	if !hasExp {
		if p.requireExp {
			return 0, ErrExpired
		}
		return 0, nil
	}
	if notAfter = exp + int64(p.skew); notAfter <= now.UnixNano() {
		return 0, ErrExpired
	}
	return notAfter, nil
}

// latest is the last second that fits nanoseconds in 64 bits with room for a skew: the year 2255.
const latest = 9e9

// instant reads a NumericDate in nanoseconds since 1970.
func instant(claims map[string]any, name string) (ns int64, found bool, err error) {
	value, found := claims[name]
	if !found {
		return 0, false, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return 0, true, ErrMalformed
	}
	seconds, err := number.Float64()
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > latest {
		return 0, true, ErrMalformed
	}
	whole, fraction := math.Modf(seconds)
	return int64(whole)*int64(time.Second) + int64(fraction*float64(time.Second)), true, nil
}
