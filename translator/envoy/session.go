package envoy

import (
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	sessionfilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	cookiestate "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/cookie/v3"
	headerstate "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/header/v3"
	typehttp "github.com/envoyproxy/go-control-plane/envoy/type/http/v3"
)

// Session keeps a client at the endpoint that answered it first (GEP-1619), as long as that endpoint is
// there. Cookie or Header is set: the name of what holds the session.
type Session struct {
	Cookie, Header string
	// TTL is the cookie's lifetime; 0 ends it with the browser's session.
	TTL time.Duration
}

func (s *Session) perRoute() *sessionfilter.StatefulSessionPerRoute {
	state := namedExtension("envoy.http.stateful_session.header", typed(&headerstate.HeaderBasedSessionState{Name: s.Header}))
	if s.Cookie != "" {
		cookie := &typehttp.Cookie{
			Name: s.Cookie, Path: "/",
			Attributes: []*typehttp.CookieAttribute{{Name: "HttpOnly"}, {Name: "SameSite", Value: "Lax"}},
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

// hold keeps a cookie's session at one of several backends: a second cookie, which the client gets with
// its first answer, chooses among them by its hash.
func (s *Session) hold(action *route.RouteAction) {
	clusters := action.GetWeightedClusters()
	if s.Cookie == "" || clusters == nil {
		return
	}
	action.HashPolicy = []*route.RouteAction_HashPolicy{{
		PolicySpecifier: &route.RouteAction_HashPolicy_Cookie_{Cookie: &route.RouteAction_HashPolicy_Cookie{
			Name: s.Cookie + "-backend", Path: "/", Ttl: duration(s.TTL),
			Attributes: []*route.RouteAction_HashPolicy_CookieAttribute{{Name: "HttpOnly"}, {Name: "SameSite", Value: "Lax"}},
		}},
	}}
	clusters.RandomValueSpecifier = &route.WeightedCluster_UseHashPolicy{UseHashPolicy: boolean(true)}
}
