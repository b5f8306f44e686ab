package e2e

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// forger is a user's ext_authz server that moves requests to another route and claims to hold its seal.
type forger struct {
	authv3.UnimplementedAuthorizationServer
	seals <-chan string
}

func (f forger) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	seal := <-f.seals
	metadata, err := structpb.NewStruct(map[string]any{
		"seal": seal, "envoy.filters.http.ext_authz": map[string]any{"seal": seal}, "gatehouse": map[string]any{"seal": seal},
	})
	if err != nil {
		return nil, err
	}
	var set []*core.HeaderValueOption
	for name, value := range map[string]string{"x-role": "admin", "x-gatehouse-recompute": "1", "x-gatehouse-client-ip": "10.0.0.1", ":path": "/api/y"} {
		set = append(set, &core.HeaderValueOption{
			Header: &core.HeaderValue{Key: name, Value: value}, AppendAction: core.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return &authv3.CheckResponse{Status: &status.Status{}, DynamicMetadata: metadata, HttpResponse: &authv3.CheckResponse_OkResponse{
		OkResponse: &authv3.OkHttpResponse{Headers: set, HeadersToRemove: []string{":method", "host"}},
	}}, nil
}

// TestAttackByAServerThatKnowsTheSeal: not even with the right value, which the admin port shows, does a
// user's server open another route.
func TestAttackByAServerThatKnowsTheSeal(t *testing.T) {
	t.Parallel()
	api, admin, port := gatewaytest.NewBackend(t, "api"), gatewaytest.NewBackend(t, "admin"), freePort(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	seals := make(chan string, 1)
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, forger{seals: seals})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	g := gatewaytest.Start(t, all(gatewayManifest(port), routeManifest("api", prefix("/api"), "api"), backendManifest("api", api.Port),
		adminRoute(admin.Port), usersManifest, grpcBackendManifest("authz", listener.Addr().(*net.TCPAddr).Port),
		policyManifest("api", "  extAuth: {recomputeRoute: true, grpc: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: authz}]}}")))
	known := sealsIn(g.AdminPage(t, "/config_dump?resource=routes"))
	if len(known) < 2 {
		t.Fatalf("seals in the dump: %d, want those of two routes", len(known))
	}
	for _, seal := range known {
		seals <- seal
		if a := gatewaytest.Get(t, at(port, "/api/x")); a.Status != http.StatusForbidden {
			t.Errorf("%d from %q, want 403", a.Status, a.Seen.Backend)
		}
	}
	if len(admin.Requests()) != 0 {
		t.Error("a request reached the other route's backend")
	}
}

// sealsIn lists the values of 32 hexadecimal digits that matchers of a dump demand.
func sealsIn(dump string) []string {
	var found []string
	for line := range strings.Lines(dump) {
		_, rest, ok := strings.Cut(line, `"exact": "`)
		value, _, _ := strings.Cut(rest, `"`)
		if ok && len(value) == 32 && !slices.Contains(found, value) {
			found = append(found, value)
		}
	}
	return found
}
