package policy

import (
	"context"
	"errors"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/basic"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

// outcome is what one method found. The order is that of a denial's weight: when several methods fail,
// the largest decides the answer.
type outcome int

const (
	passed outcome = iota
	missing
	unavailable
	invalid
)

// finding is the result of one method, or of all of them together.
type finding struct {
	outcome outcome
	reason  string
	caller  *identity.Identity
	token   *jwt.Token
	user    string
	// set are the headers that tell the upstream who is calling. They may be shared.
	set []exchange.Field
}

// authenticate runs the policy's methods. Without any, every caller is anonymous and passes this stage.
func (p *Policy) authenticate(ctx context.Context, r *exchange.Request) finding {
	if p.basic == nil && p.jwt == nil {
		return finding{}
	}
	// No method may choose among several lines: another proxy or the upstream may choose another (S13).
	if _, lines := r.Header.Lookup("authorization"); lines > 1 {
		return finding{outcome: invalid, reason: ReasonAuthorizationTwice}
	}
	switch {
	case p.basic == nil:
		return p.lenient(p.byToken(r))
	case p.jwt == nil:
		return p.byPassword(ctx, r)
	case p.any:
		return p.authenticateAny(ctx, r)
	}
	return p.authenticateAll(ctx, r)
}

// authenticateAll runs the cheap method first, so that a flood without tokens costs no hashing.
func (p *Policy) authenticateAll(ctx context.Context, r *exchange.Request) finding {
	token := p.lenient(p.byToken(r))
	if token.outcome != passed {
		return token
	}
	user := p.byPassword(ctx, r)
	if user.outcome != passed || token.caller == nil {
		return user
	}
	return finding{token: token.token, user: user.user, caller: &identity.Identity{
		Method: identity.JWT, Username: user.user, Provider: token.caller.Provider, Claims: token.caller.Claims,
	}}
}

// authenticateAny: one success is enough. Otherwise a credential that was there and wrong outweighs one
// that couldn't be checked, and either outweighs leniency, which is for requests without credentials.
func (p *Policy) authenticateAny(ctx context.Context, r *exchange.Request) finding {
	token := p.byToken(r)
	if token.outcome == passed {
		return token
	}
	user := p.byPassword(ctx, r)
	switch {
	case user.outcome == passed, user.outcome > token.outcome:
		return user
	case user.outcome == unavailable:
		return user // failOpen is for keys only
	}
	return p.lenient(token)
}

// lenient applies jwt.optional and jwt.failOpen: an anonymous caller instead of a missing token, or of
// one that no key was there to verify. Nothing that was verified and found wrong ever becomes a pass.
func (p *Policy) lenient(f finding) finding {
	if f.outcome == missing && p.optional || f.outcome == unavailable && p.failOpen {
		return finding{}
	}
	return f
}

// byToken keeps expiry apart in the reason: it is the one failure that clients cause by doing nothing
// wrong, and operators look for it first.
func (p *Policy) byToken(r *exchange.Request) finding {
	token, err := p.jwt.Verify(r)
	switch {
	case err == nil:
		return finding{caller: token.Identity, token: token}
	case errors.Is(err, jwt.ErrMissing):
		return finding{outcome: missing, reason: ReasonCredentialsMissing}
	case errors.Is(err, jwt.ErrUnavailable):
		return finding{outcome: unavailable, reason: ReasonJWTKeys}
	case errors.Is(err, jwt.ErrExpired):
		return finding{outcome: invalid, reason: ReasonJWTExpired}
	}
	return finding{outcome: invalid, reason: ReasonJWTInvalid}
}

// byPassword counts another scheme as missing, not invalid: under Any the header may be the token's.
func (p *Policy) byPassword(ctx context.Context, r *exchange.Request) finding {
	user, password, err := basic.ParseAuthorization(r.Header.Get("authorization"))
	switch {
	case errors.Is(err, basic.ErrNotBasic):
		return finding{outcome: missing, reason: ReasonCredentialsMissing}
	case err != nil:
		return finding{outcome: invalid, reason: ReasonBasicInvalid}
	}
	ok, err := p.basic.Verify(ctx, user, password)
	switch {
	case err != nil:
		return finding{outcome: unavailable, reason: ReasonBasicBusy}
	case !ok:
		return finding{outcome: invalid, reason: ReasonBasicInvalid}
	}
	return finding{user: user, caller: &identity.Identity{Method: identity.Basic, Username: user}}
}
