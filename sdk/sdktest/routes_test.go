package sdktest_test

import (
	"net/http"
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// knowing is a processor that says in a header what initial metadata it got.
func knowing(then script) sdktest.Script {
	return func(stream process) error {
		md, _ := metadata.FromIncomingContext(stream.Context())
		tenant := strings.Join(md.Get("x-tenant"), "+")
		s := script{"request_headers": func(m *incoming) ([]*outgoing, error) {
			if then["request_headers"] != nil {
				return then["request_headers"](m)
			}
			return []*outgoing{requestHeaders(withHeaders(&common{}, "x-tenant", "<"+tenant+">"))}, nil
		}, "response_headers": say(responseHeaders(withHeaders(&common{}, "x-tenant", "<"+tenant+">")))}
		return s.processor()(stream)
	}
}

// routeCases are about the filter's configuration by virtual host and by route, and about routes chosen again.
func routeCases() (all []conform) {
	add := func(name string, p any, f sdktest.Filter, r sdktest.Request) {
		racy := ""
		if f.Inner != nil {
			racy = "two processors answer at the same time"
		}
		all = append(all, conform{group: "Routes", name: name, processor: p, filter: f, request: r, racy: racy})
	}
	r := sdktest.Request{Body: []string{"question"}, Upstream: sdktest.Response{Body: []string{"answer"}}}
	second := r
	second.Header = http.Header{"X-Reroute": {"yes"}}
	streamed := sdktest.Bodies(sdktest.Streamed)
	buffered := sdktest.Bodies(sdktest.Buffered)
	overrides := []struct {
		name string
		*sdktest.Override
	}{
		{"nothing", nil},
		{"disabled", &sdktest.Override{Disabled: true}},
		{"a mode", &sdktest.Override{Mode: &streamed}},
		{"initial metadata", &sdktest.Override{InitialMetadata: map[string]string{"x-tenant": "route"}}},
		{"a service", &sdktest.Override{Service: map[string]string{"x-tenant": "service"}}},
		{"a service and initial metadata", &sdktest.Override{Service: map[string]string{"x-tenant": "service"}, InitialMetadata: map[string]string{"x-tenant": "route"}}},
		{"failure_mode_allow", &sdktest.Override{FailureModeAllow: new(true)}},
		{"no failure_mode_allow", &sdktest.Override{FailureModeAllow: new(false)}},
	}
	base := sdktest.Filter{Mode: buffered, InitialMetadata: map[string]string{"x-tenant": "filter"}}
	for _, o := range overrides {
		f := base
		f.Route = o.Override
		add("the route has "+o.name, knowing(nil), f, r)
		f.FailureModeAllow = o.name == "no failure_mode_allow"
		add("the route has "+o.name+", and the processor fails", script{"request_headers": quit(errBoom)}.processor(), f, r)
		f = base
		f.Unreachable, f.Route = true, o.Override
		add("the route has "+o.name+", and the filter's processor is not to be reached", knowing(nil), f, r)
		f = base
		f.Again = o.Override
		again := script{"request_headers": say(requestHeaders(rerouting(withHeaders(&common{}, "x-reroute", "yes"))))}
		add("the route chosen again has "+o.name, knowing(again), f, r)
		add("the route from the start is the one that has "+o.name, knowing(nil), f, second)
		inner := base
		inner.Again = o.Override
		f = sdktest.Filter{Inner: &sdktest.Inner{Processor: knowing(nil), Filter: inner}}
		add("the route chosen again, before an inner filter, has "+o.name, knowing(again), f, r)
		for _, host := range overrides[1:] {
			f = base
			f.VirtualHost, f.Route = host.Override, o.Override
			add("the virtual host has "+host.name+", the route "+o.name, knowing(nil), f, r)
		}
	}
	return all
}

func rerouting(r *common) *common { r.ClearRouteCache = true; return r }
