package sdktest_test

import (
	"context"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// upgrade is a way to a connection that is no longer HTTP's: what the client sends comes back, then the
// upstream ends it.
type upgrade struct {
	name    string
	http1   bool
	request sdktest.Request
}

func upgrades() []upgrade {
	switching := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	open := func(r sdktest.Request, status int, h http.Header) sdktest.Request {
		r.Endless, r.Pace, r.Body = true, sdktest.Interleaved, []string{"ping"}
		r.Upstream = sdktest.Response{Status: status, Header: h, Early: true, Echo: true}
		return r
	}
	return []upgrade{
		{"WebSocket", true, open(sdktest.Request{Method: http.MethodGet, Header: switching}, 101, switching)},
		{"CONNECT over HTTP/1", true, open(sdktest.Request{Method: http.MethodConnect, Authority: "test.example:443"}, 200, nil)},
		{"CONNECT", false, open(sdktest.Request{Method: http.MethodConnect, Authority: "test.example:443"}, 200, nil)},
		{"extended CONNECT", false, open(sdktest.Request{Method: http.MethodConnect, Header: http.Header{":protocol": {"websocket"}}}, 200, nil)},
	}
}

// upgradeCases: Envoy sends an upgraded connection's bytes to a processor as bodies, whose end is the
// connection's.
func upgradeCases() (all []conform) {
	for _, u := range upgrades() {
		for _, m := range modes {
			f := m.filter()
			f.HTTP1 = u.http1
			for _, pace := range []sdktest.Pace{sdktest.Interleaved, sdktest.Together} {
				r := u.request
				r.Upstream.Pace = pace
				if m.BodyMode == sdktest.Buffered || m.BodyMode == sdktest.BufferedPartial {
					r = patient(r) // nothing goes on before the connection's end
				}
				one := conform{group: "Upgrades", name: u.name + ", " + m.name, processor: script{}.processor(), filter: f, request: r}
				if pace == sdktest.Together {
					one.name += ", the end right behind"
					one = one.loose("the answer comes when all is over")
				}
				all = append(all, one)
			}
			f.AllowModeOverride = true
			r := u.request
			r.Upstream.Pace = sdktest.Interleaved
			if m.BodyMode != sdktest.FullDuplex { // whose overrides Envoy ignores
				all = append(all, conform{group: "Upgrades", name: u.name + ", " + m.name + ", to NONE by override", filter: f, request: r,
					processor: script{"request_headers": say(overriding(requestHeaders(nil), everything(sdktest.None, sdktest.None)))}.processor()})
			}
			early := conform{group: "Upgrades", name: u.name + ", " + m.name + ", early return", filter: f, request: r,
				processor: served(sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { return nil }))}
			if m.noWait {
				early = early.loose("a body may come before the close is seen")
			}
			all = append(all, early)
			if m.BodyMode != sdktest.None {
				forbidden := conform{group: "Upgrades", name: u.name + ", " + m.name + ", by the SDK without overrides", filter: f, request: r,
					processor: served(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error { return x.Finish(ctx) }))}
				forbidden.filter.AllowModeOverride = false
				all = append(all, forbidden)
			}
		}
	}
	return all
}
