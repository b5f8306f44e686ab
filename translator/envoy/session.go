package envoy

import (
	"regexp"
	"strconv"
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	sessionfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	cookiestate "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/cookie/v3"
	headerstate "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/header/v3"
	typehttp "github.com/envoyproxy/go-control-plane/envoy/type/http/v3"
	"google.golang.org/protobuf/proto"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Session keeps a client at the endpoint that answered it first (GEP-1619), as long as that endpoint is
// there. Cookie or Header is set: the name of what holds the session. With several backends it is Cookie.
type Session struct {
	Cookie, Header string
	// TTL is the cookie's lifetime; 0 ends it with the browser's session.
	TTL time.Duration
	// Secure keeps the cookie off plain HTTP.
	Secure bool
}

func (s *Session) perRoute() *sessionfilter.StatefulSessionPerRoute {
	state := namedExtension("envoy.http.stateful_session.header", typed(&headerstate.HeaderBasedSessionState{Name: s.Header}))
	if s.Cookie != "" {
		cookie := &typehttp.Cookie{
			Name: s.Cookie, Path: "/",
			Attributes: []*typehttp.CookieAttribute{{Name: "SameSite", Value: "Lax"}}, // Envoy adds HttpOnly
		}
		if s.Secure {
			cookie.Attributes = append(cookie.Attributes, &typehttp.CookieAttribute{Name: "Secure"})
		}
		if s.TTL > 0 {
			cookie.Ttl = duration(s.TTL)
		}
		state = namedExtension("envoy.http.stateful_session.cookie", typed(&cookiestate.CookieBasedSessionState{Cookie: cookie}))
	}
	return &sessionfilter.StatefulSessionPerRoute{Override: &sessionfilter.StatefulSessionPerRoute_StatefulSession{
		StatefulSession: &sessionfilter.StatefulSession{SessionState: state},
	}}
}

// at is the session at one of several backends, which has a cookie of its own.
func (s *Session) at(backend int) *Session {
	one := *s
	one.Cookie += "-" + strconv.Itoa(backend)
	return &one
}

// Splits reports whether a rule's traffic is divided among backends.
func (r *Rule) Splits() bool {
	n := 0
	for _, c := range r.Clusters {
		if c.Weight > 0 {
			n++
		}
	}
	return n > 1
}

// held are the routes of sessions that began at one of several backends. The weights would send their
// next request to another one; the backend's cookie keeps it there.
func (b *Builder) held(rule *Rule, m *gatewayv1.HTTPRouteMatch) []*route.Route {
	if rule.Session == nil || !rule.Splits() {
		return nil
	}
	var routes []*route.Route
	for i, c := range rule.Clusters {
		match, fault := routeMatch(m)
		if c.Weight == 0 || c.Cluster == "" || fault != "" {
			continue
		}
		one := *rule
		one.Clusters, one.Session = []WeightedCluster{c}, rule.Session.at(i)
		cookie := regexp.QuoteMeta(one.Session.Cookie)
		match.Headers = append(match.Headers, headerMatch("cookie", regex("(.*[;,] *)?"+cookie+"=.*")))
		routes = append(routes, b.route(&one, m, match))
	}
	return routes
}

// hold gives each of several backends its own cookie.
func (s *Session) hold(clusters *route.WeightedCluster) {
	for i, c := range clusters.Clusters {
		c.TypedPerFilterConfig = pack(map[string]proto.Message{filterSession: s.at(i).perRoute()})
	}
}
