package policy

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/apikey"
	"github.com/gatehouse-proxy/gatehouse/security/basic"
	"github.com/gatehouse-proxy/gatehouse/security/config"
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
	client  string // whose API key it was
	// set are the headers that tell the upstream who is calling. They may be shared.
	set []exchange.Field
}

// authenticate runs the policy's methods. Without any, every caller is anonymous and passes this stage.
func (p *Policy) authenticate(ctx context.Context, r *exchange.Request) finding {
	if p.basic == nil && p.jwt == nil && p.keys == nil {
		return finding{}
	}
	// No method may choose among several lines: another proxy or the upstream may choose another (S13).
	if severalCredentials(r) {
		return finding{outcome: invalid, reason: ReasonAuthorizationTwice}
	}
	if p.any {
		return p.authenticateAny(ctx, r)
	}
	return p.authenticateAll(ctx, r)
}

// severalCredentials also knows lines that a proxy has joined (RFC 9110 section 5.3), as Envoy does with
// HTTP/1: a parameter of one credential never looks like another's scheme.
func severalCredentials(r *exchange.Request) bool {
	value, lines := r.Header.Lookup("authorization")
	if lines > 1 {
		return true
	}
	_, rest, joined := strings.Cut(value, ",")
	for joined {
		var part string
		part, rest, joined = strings.Cut(rest, ",")
		scheme, _, _ := strings.Cut(strings.Trim(part, " \t"), " ")
		if strings.EqualFold(scheme, "basic") || strings.EqualFold(scheme, "bearer") {
			return true
		}
	}
	return false
}

// authenticateAll runs the cheap methods first, so that a flood without tokens costs no hashing.
func (p *Policy) authenticateAll(ctx context.Context, r *exchange.Request) finding {
	var all finding
	if p.jwt != nil {
		all = p.lenient(p.byToken(r))
	}
	if p.keys != nil && all.outcome == passed {
		all = both(all, p.byKey(r))
	}
	if p.basic != nil && all.outcome == passed {
		all = both(all, p.byPassword(ctx, r))
	}
	return all
}

// both joins what two methods found out about the caller, of which the first passed. A token's claims
// and a password's user outweigh the rest.
func both(first, second finding) finding {
	if second.outcome != passed || first.caller == nil {
		return second
	}
	joined := finding{token: first.token, user: cmp.Or(second.user, first.user), client: cmp.Or(second.client, first.client)}
	joined.caller = &identity.Identity{
		Method: identity.Basic, Username: cmp.Or(second.user, first.caller.Username), ClientID: joined.client,
		Provider: first.caller.Provider, Claims: first.caller.Claims,
	}
	if first.token != nil {
		joined.caller.Method = identity.JWT
	}
	return joined
}

// authenticateAny: one success is enough. Otherwise a credential that was there and wrong outweighs one
// that couldn't be checked, and either outweighs leniency, which is for requests without credentials.
func (p *Policy) authenticateAny(ctx context.Context, r *exchange.Request) finding {
	worst := finding{outcome: missing, reason: ReasonCredentialsMissing}
	if p.jwt != nil {
		if worst = p.byToken(r); worst.outcome == passed {
			return worst
		}
	}
	if p.keys != nil {
		key := p.byKey(r)
		if key.outcome == passed {
			return key
		}
		worst = worse(worst, key)
	}
	if p.basic != nil {
		user := p.byPassword(ctx, r)
		if user.outcome == passed {
			return user
		}
		worst = worse(worst, user)
	}
	if worst.outcome == missing && p.login != nil && !passedBy(r, p.login.PassedBy) {
		return finding{} // the proxy has seen a session
	}
	if worst.reason == ReasonBasicBusy {
		return worst // failOpen is for keys only
	}
	return p.lenient(worst)
}

// passedBy reports whether the proxy may have let the request by its login. It must never say no where the
// proxy says yes: one line is enough, whatever else the header says.
func passedBy(r *exchange.Request, headers []config.HeaderPrefix) bool {
	for _, h := range headers {
		for _, line := range r.Header.Values(h.Name) {
			if strings.HasPrefix(line, h.Prefix) {
				return true
			}
		}
	}
	return false
}

// worse prefers the later of two equals but a token's, whose challenge says more.
func worse(first, second finding) finding {
	if second.outcome > first.outcome || second.reason == ReasonBasicBusy && second.outcome >= first.outcome {
		return second
	}
	return first
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

// byKey costs one digest.
func (p *Policy) byKey(r *exchange.Request) finding {
	client, err := p.keys.Client(r)
	switch {
	case err == nil:
		return finding{client: client, caller: &identity.Identity{Method: identity.APIKey, ClientID: client}}
	case errors.Is(err, apikey.ErrMissing):
		return finding{outcome: missing, reason: ReasonCredentialsMissing}
	}
	return finding{outcome: invalid, reason: ReasonAPIKeyInvalid}
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
