package policy

import (
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// The bodies: one for each kind of failure, whichever check failed (S47).
var bodies = map[int]string{
	http.StatusUnauthorized:          "unauthorized",
	http.StatusForbidden:             "forbidden",
	http.StatusRequestEntityTooLarge: "payload too large",
	http.StatusServiceUnavailable:    "service unavailable",
}

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
	if p.jwt != nil {
		bearer := "Bearer realm=" + p.bearerRealm
		if found.reason == ReasonJWTInvalid || found.reason == ReasonJWTExpired {
			bearer += `, error="invalid_token"`
		}
		all = append(all, bearer)
	}
	if p.basic != nil {
		all = append(all, p.basicChallenge)
	}
	return all
}
