package routing_test

import (
	"net/url"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// table is one HTTP listener on port 80 with these routes for every host.
func table(t testing.TB, routes ...*route.Route) *routing.Table {
	t.Helper()
	resource := func(name string, m proto.Message) []snapshot.Resource {
		body, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return []snapshot.Resource{snapshot.NewResource(name, body)}
	}
	manager, err := anypb.New(&hcm.HttpConnectionManager{
		NormalizePath: wrapperspb.Bool(true), MergeSlashes: true, PathWithEscapedSlashesAction: hcm.HttpConnectionManager_UNESCAPE_AND_REDIRECT,
		RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{RouteConfigName: "routes"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := routing.New(&snapshot.Snapshot{Resources: map[snapshot.Type][]snapshot.Resource{
		snapshot.Listener: resource("l", &listener.Listener{
			Name: "l", Address: &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
				Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: 80},
			}}},
			DefaultFilterChain: &listener.FilterChain{Filters: []*listener.Filter{{ConfigType: &listener.Filter_TypedConfig{TypedConfig: manager}}}},
		}),
		snapshot.Route: resource("routes", &route.RouteConfiguration{
			Name: "routes", VirtualHosts: []*route.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: routes}},
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAnUnknownConditionIsNoGuess: a request that meets it is an error, one that is taken before isn't.
func TestAnUnknownConditionIsNoGuess(t *testing.T) {
	t.Parallel()
	prefix := func(path string) *route.RouteMatch {
		return &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: path}}
	}
	known, unknown := prefix("/known"), prefix("/")
	unknown.RuntimeFraction = &core.RuntimeFractionalPercent{}
	routes := table(t, &route.Route{Name: "first", Match: known}, &route.Route{Name: "sampled", Match: unknown}, &route.Route{Name: "rest", Match: prefix("/")})
	ask := func(path string) (*routing.Match, error) {
		return routes.Match(&routing.Request{Port: 80, Method: "GET", Authority: "h", Path: path})
	}
	if m, err := ask("/known"); err != nil || m.Route.GetName() != "first" {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := ask("/other"); err == nil || !strings.Contains(err.Error(), "route sampled") {
		t.Errorf("%+v, %v", m, err)
	}
}

// FuzzPath: whatever a path looks like, its normal form is its own normal form.
func FuzzPath(f *testing.F) {
	for _, path := range []string{"/", "//a//", "/a/../b", "/%2e%2e/x", "/a;b/..;c/d", `/\..\x`, "/%", "/%2", "/a?b=/../c", "*", "/%00", "/é", "/%%370"} {
		f.Add(path)
	}
	routes := table(f, &route.Route{Name: "all", Match: &route.RouteMatch{PathSpecifier: &route.RouteMatch_Prefix{Prefix: "/"}}})
	ask := func(path string) *routing.Match {
		m, err := routes.Match(&routing.Request{Port: 80, Method: "GET", Authority: "h", Path: path})
		if err != nil {
			f.Fatal(err)
		}
		return m
	}
	f.Fuzz(func(t *testing.T, path string) {
		m := ask(path)
		if m.Status != 0 {
			return
		}
		if !strings.HasPrefix(m.Path, "/") || strings.Contains(strings.SplitN(m.Path, "?", 2)[0], "//") || m.Route == nil {
			t.Errorf("%q is %q", path, m.Path)
		}
		// An escaped dot before parameters is plain after the first pass, and a dot segment in the second; and
		// behind a broken escape a decoded digit makes a sound one. Envoy does the same.
		_, broken := url.PathUnescape(path)
		if again := ask(m.Path); again.Path != m.Path && !strings.Contains(path, ";") && broken == nil {
			t.Errorf("%q is %q, and that is %q", path, m.Path, again.Path)
		}
	})
}
