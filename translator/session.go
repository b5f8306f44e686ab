package translator

import (
	"crypto/sha256"
	"encoding/hex"

	"golang.org/x/net/http/httpguts"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// session applies the rule's session persistence (GEP-1619). Without a name every rule has its own: with
// a shared one, each rule would take the other's session for a broken one and begin anew.
func (b *routeBuilder) session(rule *envoy.Rule, spec *gatewayv1.SessionPersistence) {
	if spec == nil {
		return
	}
	const unsupported = "UnsupportedValue"
	sum := sha256.Sum256([]byte(rule.Name))
	name := "gatehouse-session-" + hex.EncodeToString(sum[:4])
	if spec.SessionName != nil {
		name = *spec.SessionName
	}
	ttl, bad := parseDuration(spec.AbsoluteTimeout)
	permanent := spec.CookieConfig != nil && spec.CookieConfig.LifetimeType != nil &&
		*spec.CookieConfig.LifetimeType == gatewayv1.PermanentCookieLifetimeType
	header := spec.Type != nil && *spec.Type == gatewayv1.HeaderBasedSessionPersistence
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		b.fault(rule, unsupported, "sessionPersistence.sessionName %q is not a name of a cookie or header", name)
	case bad != "":
		b.fault(rule, unsupported, "sessionPersistence.absoluteTimeout: %q is not a duration; write 1h", bad)
	case header && spec.CookieConfig != nil:
		b.fault(rule, unsupported, "sessionPersistence.cookieConfig is only for type Cookie")
	case permanent && (ttl == nil || *ttl == 0):
		b.fault(rule, unsupported, "sessionPersistence.absoluteTimeout is missing: a Permanent cookie needs one")
	case !permanent && ttl != nil && *ttl > 0:
		b.fault(rule, unsupported, "sessionPersistence.absoluteTimeout works only with cookieConfig.lifetimeType Permanent; remove it")
	case header && rule.Splits():
		b.fault(rule, unsupported, "sessionPersistence of type Header works with one backend only; use type Cookie")
	case header:
		rule.Session = &envoy.Session{Header: name}
	case permanent:
		rule.Session = &envoy.Session{Cookie: name, TTL: *ttl, Secure: rule.TLS}
	default:
		rule.Session = &envoy.Session{Cookie: name, Secure: rule.TLS}
	}
}
