package explain

import (
	"net/http"
	"slices"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	oauth2 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// Reasons of Envoy's oauth2 filter.
const (
	reasonLogin    = "oidc: sent to log in"
	reasonLogout   = "oidc: logged out"
	reasonCallback = "oidc: a callback for no login that this client began"
	reasonNoLogin  = "oidc: no session, and denyRedirect keeps this request from being sent to log in"
)

// session says what a request's cookies say to Envoy's oauth2 filter, before anything else that checks.
type session int

const (
	noSession  session = iota
	passed             // the filter lets the request by
	unverified         // there are cookies of a session, or of a login; who made them isn't looked into
)

// loggedIn plays the filter (OAuth2Filter::decodeHeaders) for a client without a session. true: it has
// answered.
func loggedIn(r *routing.Request, match *routing.Match, c *oauth2.OAuth2Config, out *Explanation) (answered bool, state session) {
	path := withoutQuery(match.Path)
	switch {
	case matchesAny(r, c.GetPassThroughMatcher()):
		return false, passed
	case routing.TextMatches(c.GetSignoutPath().GetPath(), path):
		out.Verdict = Verdict{Outcome: Answered, Status: http.StatusFound, By: byLogin, Reason: reasonLogout}
		return true, noSession
	case hasCookieOf(r, c.GetCredentials().GetCookieNames()):
		return false, unverified
	case routing.TextMatches(c.GetRedirectPathMatcher().GetPath(), path):
		out.Verdict = Verdict{Outcome: Denied, Status: http.StatusUnauthorized, By: byLogin, Reason: reasonCallback}
	case matchesAny(r, c.GetDenyRedirectMatcher()):
		out.Verdict = Verdict{Outcome: Denied, Status: http.StatusUnauthorized, By: byLogin, Reason: reasonNoLogin}
	default:
		out.Verdict = Verdict{Outcome: Answered, Status: http.StatusFound, By: byLogin, Reason: reasonLogin, Location: c.GetAuthorizationEndpoint()}
	}
	return true, noSession
}

// byLogin is who decides there.
const byLogin = "the login"

func matchesAny(r *routing.Request, matchers []*route.HeaderMatcher) bool {
	return slices.ContainsFunc(matchers, func(m *route.HeaderMatcher) bool {
		if !slices.ContainsFunc(r.Header, named(m.GetName())) {
			return false
		}
		return m.GetPresentMatch() || routing.TextMatches(m.GetStringMatch(), joined(r.Header, m.GetName()))
	})
}

func hasCookieOf(r *routing.Request, names *oauth2.OAuth2Credentials_CookieNames) bool {
	own := []string{
		names.GetBearerToken(), names.GetIdToken(), names.GetRefreshToken(), names.GetOauthHmac(), names.GetOauthExpires(), names.GetOauthNonce(), names.GetCodeVerifier(),
	}
	for _, f := range r.Header {
		if !strings.EqualFold(f.Name, "cookie") {
			continue
		}
		for pair := range strings.SplitSeq(f.Value, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(pair), "=")
			// A nonce's name goes on with what it belongs to.
			if slices.ContainsFunc(own, func(known string) bool { return known != "" && strings.HasPrefix(name, known) }) {
				return true
			}
		}
	}
	return false
}
