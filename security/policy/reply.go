package policy

import (
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/opa"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

// The bodies: one for each kind of failure, whichever check failed (S47).
var bodies = map[int]string{
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusRequestEntityTooLarge: "payload too large",
	http.StatusServiceUnavailable:    "service unavailable",
}

// deny makes a fresh reply each time: later stages add headers to it.
func deny(status int, reason string) exchange.Verdict {
	reply := exchange.Deny(status, bodies[status])
	reply.Header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	return exchange.Verdict{Reply: reply, Reason: reason}
}

// refuse turns failed authentication into an answer.
func (p *Policy) refuse(found finding) exchange.Verdict {
	if found.outcome == unavailable {
		return deny(http.StatusServiceUnavailable, found.reason)
	}
	verdict := deny(http.StatusUnauthorized, found.reason)
	verdict.Reply.Header["Www-Authenticate"] = p.challenges(found)
	return verdict
}

// challenges names every method, each in a line of its own. The error code of RFC 6750 section 3.1 is
// only for requests that carried a token.
func (p *Policy) challenges(found finding) []string {
	var all []string
	if p.jwt != nil || p.basic == nil && p.keys == nil {
		bearer := "Bearer realm=" + p.bearerRealm
		if found.reason == ReasonJWTInvalid || found.reason == ReasonJWTExpired {
			bearer += `, error="invalid_token"` //nolint:gosec // G101: words of the protocol
		}
		all = append(all, bearer)
	}
	if p.keys != nil {
		// No registered scheme fits; RFC 9110 section 15.5.2 demands some challenge.
		all = append(all, "ApiKey realm="+p.bearerRealm)
	}
	if p.basic != nil {
		all = append(all, p.basicChallenge)
	}
	return all
}

// opaFault is the answer to an evaluation that gave no decision.
func opaFault(err error) exchange.Verdict {
	switch {
	case errors.Is(err, rego.ErrUndefined):
		return deny(http.StatusForbidden, ReasonOPAUndefined)
	case errors.Is(err, rego.ErrAmbiguous):
		return deny(http.StatusForbidden, ReasonAmbiguous)
	case errors.Is(err, rego.ErrBodyTooLarge):
		return deny(http.StatusRequestEntityTooLarge, ReasonBodyTooLarge)
	case errors.Is(err, rego.ErrBodyMissing):
		return deny(http.StatusServiceUnavailable, ReasonBodyMissing)
	case errors.Is(err, opa.ErrNoBundle):
		return deny(http.StatusServiceUnavailable, ReasonBundleMissing)
	case errors.Is(err, rego.ErrTimeout):
		return deny(http.StatusServiceUnavailable, ReasonOPATimeout)
	}
	return deny(http.StatusServiceUnavailable, ReasonOPAError)
}

// opaDenies writes the reply that Rego asks for; without one it looks like any other denial.
func (p *Policy) opaDenies(decision *rego.Decision) exchange.Verdict {
	verdict := deny(decision.Status, ReasonOPADenied)
	reply := verdict.Reply
	if _, common := bodies[decision.Status]; !common {
		reply.Body = []byte(strings.ToLower(http.StatusText(decision.Status)))
	}
	if decision.Body != nil {
		reply.Body = []byte(*decision.Body)
	}
	own := http.Header{}
	for _, f := range p.withoutCORS(append(decision.Headers, decision.ResponseHeaders...)) {
		own.Add(f.Name, f.Value)
	}
	maps.Copy(reply.Header, own)
	if decision.Status == http.StatusUnauthorized && len(reply.Header["Www-Authenticate"]) == 0 {
		reply.Header["Www-Authenticate"] = p.challenges(finding{})
	}
	return verdict
}
