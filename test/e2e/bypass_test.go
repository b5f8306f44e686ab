package e2e

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// adminRoute is reached by the header x-role: admin on any path, and protected by basic auth: a more
// specific match than any path prefix the tests send requests to, once the header is there.
func adminRoute(port int) string {
	return routeManifest("admin", "{path: {type: PathPrefix, value: /api}, headers: [{name: x-role, value: admin}]}", "admin") +
		"\n---\n" + backendManifest("admin", port) + "\n---\n" + policyManifest("admin", basicSpec)
}

// TestS51VerdictOutlivesRouteChanges: whatever changes the route after a verdict, a request never reaches a
// backend whose policy didn't let it pass (S51).
func TestS51VerdictOutlivesRouteChanges(t *testing.T) {
	t.Parallel()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	token := "Authorization: Bearer " + issuer.Token(t, map[string]any{"role": "admin"})
	for name, change := range map[string]func(t *testing.T) string{
		"a verdict that sets a header and recomputes the route": func(*testing.T) string {
			return policyManifest("api", jwtSpec(issuer, `
      recomputeRoute: true
      claimToHeaders: [{claim: role, header: x-role}]`))
		},
		"a verdict by ext_proc that does so": func(*testing.T) string {
			return policyManifest("api", jwtSpec(issuer, `
      recomputeRoute: true
      claimToHeaders: [{claim: role, header: x-role}]`)+"\n  enforcement: ExtProc")
		},
		"a verdict by ext_proc, and an ext_proc": func(t *testing.T) string {
			return policyManifest("api", jwtSpec(issuer, "")+"\n  enforcement: ExtProc") + "\n---\n" + reroutingProcessor(t)
		},
		"an ext_proc": func(t *testing.T) string {
			return policyManifest("api", jwtSpec(issuer, "")) + "\n---\n" + reroutingProcessor(t)
		},
		"a user's ext_authz server": func(t *testing.T) string {
			return policyManifest("api", jwtSpec(issuer, "")+`
  extAuth:
    recomputeRoute: true
    grpc: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: authz}]}`) + "\n---\n" + promotingAuthorizer(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			api, admin, port := gatewaytest.NewBackend(t, "api"), gatewaytest.NewBackend(t, "admin"), freePort(t)
			gatewaytest.Start(t, all(
				gatewayManifest(port), routeManifest("api", prefix("/api"), "api"), backendManifest("api", api.Port),
				adminRoute(admin.Port), usersManifest, change(t)))
			if a := gatewaytest.Get(t, at(port, "/api/x"), "x-role: admin", basicAlice); a.Status != 200 || a.Seen.Backend != "admin" {
				t.Fatalf("the other route doesn't work by itself: %d %q", a.Status, a.Body)
			}
			before := len(admin.Requests())
			if a := gatewaytest.Get(t, at(port, "/api/x"), token); a.Status != http.StatusForbidden {
				t.Errorf("status %d, want 403: %s", a.Status, a.Body)
			}
			if len(admin.Requests()) != before {
				t.Error("the request reached a backend whose policy never let it pass")
			}
		})
	}
}

// TestS51RouteOfUsersServerIsSealedToo: a route that only a user's ext_authz server protects isn't reached
// by a request that was routed elsewhere first.
func TestS51RouteOfUsersServerIsSealedToo(t *testing.T) {
	t.Parallel()
	api, admin, port := gatewaytest.NewBackend(t, "api"), gatewaytest.NewBackend(t, "admin"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port),
		routeManifest("api", prefix("/api"), "api"), backendManifest("api", api.Port), reroutingProcessor(t),
		routeManifest("admin", "{path: {type: PathPrefix, value: /api}, headers: [{name: x-role, value: admin}]}", "admin"),
		backendManifest("admin", admin.Port), promotingAuthorizer(t),
		policyManifest("admin", "  extAuth: {grpc: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: authz}]}}")))
	if a := gatewaytest.Get(t, at(port, "/api/x"), "x-role: admin"); a.Status != 200 || a.Seen.Backend != "admin" {
		t.Fatalf("the other route doesn't work by itself: %d %q", a.Status, a.Body)
	}
	before := len(admin.Requests())
	if a := gatewaytest.Get(t, at(port, "/api/x")); a.Status != http.StatusForbidden || len(admin.Requests()) != before {
		t.Errorf("%d, want 403 and nothing at the backend: %s", a.Status, a.Body)
	}
}

// TestRecomputeBetweenRoutesOfOnePolicy works: what the verdict was given for is demanded there too.
func TestRecomputeBetweenRoutesOfOnePolicy(t *testing.T) {
	t.Parallel()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	one, two, port := gatewaytest.NewBackend(t, "one"), gatewaytest.NewBackend(t, "two"), freePort(t)
	policy := strings.Replace(policyManifest("plain", jwtSpec(issuer, `
      recomputeRoute: true
      claimToHeaders: [{claim: role, header: x-role}]`)),
		"name: plain}]", "name: plain}, {group: gateway.networking.k8s.io, kind: HTTPRoute, name: chosen}]", 1)
	gatewaytest.Start(t, all(gatewayManifest(port),
		routeManifest("plain", prefix("/"), "one"), routeManifest("chosen", "{headers: [{name: x-role, value: admin}]}", "two"),
		backendManifest("one", one.Port), backendManifest("two", two.Port), policy))
	for role, backend := range map[string]string{"user": "one", "admin": "two"} {
		a := gatewaytest.Get(t, at(port, "/"), "Authorization: Bearer "+issuer.Token(t, map[string]any{"role": role}))
		if a.Status != 200 || a.Seen.Backend != backend {
			t.Errorf("role %s: %d from %q, want 200 from %q", role, a.Status, a.Seen.Backend, backend)
		}
	}
}

// reroutingProcessor is an ext_proc server that sets x-role and clears the route cache.
func reroutingProcessor(t *testing.T) string {
	port := serveProcessor(t, func(_ context.Context, x *sdk.Exchange) error {
		x.Request.Header.Set("x-role", "admin")
		x.Request.SetPath(x.Request.Path()+"?rerouted", true)
		return nil
	})
	return grpcBackendManifest("processor", port) + `
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: api}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: api}]
  extProc:
  - backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: processor}]
    messageTimeout: 5s
    processingMode: {request: {}}
`
}

// promotingAuthorizer is a user's own ext_authz server that makes everybody an admin.
func promotingAuthorizer(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(func(context.Context, *exchange.Request) (exchange.Verdict, error) {
		return exchange.Verdict{Allow: true, Set: []exchange.Field{{Name: "x-role", Value: "admin"}}}, nil
	}))).Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return grpcBackendManifest("authz", listener.Addr().(*net.TCPAddr).Port)
}

// serveProcessor runs a processor on a loopback port until the test ends.
func serveProcessor(t *testing.T, process sdk.ProcessorFunc) int {
	t.Helper()
	port := freePort(t)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // it ends in its turn, after the gateway
	done := make(chan error, 1)
	go func() { done <- sdk.Serve(ctx, address, process) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("processor: %v", err)
		}
	})
	gatewaytest.Eventually(t, "processor", func() error {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return port
}
