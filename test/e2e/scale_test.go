package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const routes = 200

// TestTwoHundredPoliciesTouchNoListener: one filter serves them all, and editing them neither changes a
// listener nor disturbs an open connection of another route.
func TestTwoHundredPoliciesTouchNoListener(t *testing.T) {
	t.Parallel()
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	socket := openSocket(t, issuer, backend, port)
	g := socket.gateway

	if n := strings.Count(g.AdminPage(t, "/config_dump?resource=dynamic_listeners"), `"name": "gatehouse.ext_authz"`); n != 1 {
		t.Errorf("the connection manager holds %d Gatehouse ext_authz filters, want 1", n)
	}
	checkPolicy(t, issuer, port, 7)
	socket.echo(t, "before")

	changed := strings.Replace(fullPolicy(issuer, 7), `"r7"`, `"elsewhere"`, 1)
	g.Write(t, "policy-7.yaml", changed)
	gatewaytest.Await(t, path(port, 7), http.StatusForbidden, basicAlice)
	socket.echo(t, "after a change")

	g.Remove(t, "policy-8.yaml")
	gatewaytest.Await(t, path(port, 8), http.StatusOK)
	socket.echo(t, "after a removal")

	g.Write(t, "policy-8.yaml", fullPolicy(issuer, 8))
	gatewaytest.Await(t, path(port, 8), http.StatusUnauthorized)
	checkPolicy(t, issuer, port, 8)
	socket.echo(t, "after an addition")

	if n := g.Stat(t, "listener_manager.listener_modified"); n != 0 {
		t.Errorf("listener_modified is %d, want 0", n)
	}
	if n := g.Stat(t, "listener_manager.listener_added"); n != 1 {
		t.Errorf("listener_added is %d, want 1", n)
	}
}

func path(port, i int) string { return fmt.Sprintf("http://127.0.0.1:%d/r%d/x", port, i) }

// fullPolicy has everything a policy can have; its Rego admits its own path only.
func fullPolicy(issuer *gatewaytest.Issuer, i int) string {
	name := "r" + strconv.Itoa(i)
	return policyManifest(name, jwtSpec(issuer, fmt.Sprintf(`
      claimToHeaders: [{claim: sub, header: x-user}]
  authMode: Any
%s
  cors: {allowOrigins: ["https://app.example"], allowMethods: [GET, POST], allowHeaders: [authorization], allowCredentials: true}
  opa:
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        default allow := false
        allow if input.parsed_path[0] == %q
`, basicSpec, name)))
}

// checkPolicy checks what policy i decides, by every way to authenticate.
func checkPolicy(t *testing.T, issuer *gatewaytest.Issuer, port, i int) {
	t.Helper()
	bearer := "Authorization: Bearer " + issuer.Token(t, map[string]any{"sub": "carol"})
	if a := gatewaytest.Get(t, path(port, i)); a.Status != http.StatusUnauthorized {
		t.Errorf("route %d without credentials: %d, want 401", i, a.Status)
	}
	if a := gatewaytest.Get(t, path(port, i), basicAlice, "x-user: forged"); a.Status != http.StatusOK || a.Seen.Header.Get("x-user") != "" {
		t.Errorf("route %d with a password: %d, x-user %q, want 200 and none", i, a.Status, a.Seen.Header.Get("x-user"))
	}
	a := gatewaytest.Get(t, path(port, i), bearer, "x-user: forged", "Origin: https://app.example")
	if a.Status != http.StatusOK || fmt.Sprint(a.Seen.Header["X-User"]) != "[carol]" {
		t.Errorf("route %d with a token: %d, x-user %q, want 200 and carol", i, a.Status, a.Seen.Header["X-User"])
	}
	if got := a.Header.Values("Access-Control-Allow-Origin"); fmt.Sprint(got) != "[https://app.example]" {
		t.Errorf("route %d: Access-Control-Allow-Origin %q", i, got)
	}
}

// openConnection is a WebSocket through a route of the gateway that no edit concerns.
type openConnection struct {
	gateway *gatewaytest.Gateway
	conn    *websocket.Conn
}

func openSocket(t *testing.T, issuer *gatewaytest.Issuer, backend *gatewaytest.Backend, port int) *openConnection {
	t.Helper()
	manifests := map[string]string{
		"gateway.yaml": gatewayManifest(port), "users.yaml": usersManifest,
		"backend.yaml": backendManifest("b", backend.Port),
		"echo.yaml": routeManifest("echo", prefix("/echo"), "echo") + "\n---\n" +
			backendManifest("echo", echoServer(t)),
	}
	for i := range routes {
		manifests[fmt.Sprintf("route-%d.yaml", i)] = routeManifest("r"+strconv.Itoa(i), prefix("/r"+strconv.Itoa(i)), "b")
		manifests[fmt.Sprintf("policy-%d.yaml", i)] = fullPolicy(issuer, i)
	}
	g := gatewaytest.Start(t, manifests)
	conn, response, err := websocket.Dial(t.Context(), fmt.Sprintf("ws://127.0.0.1:%d/echo", port), nil)
	if err != nil {
		t.Fatalf("websocket: %v", err)
	}
	if response.Body != nil {
		_ = response.Body.Close()
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &openConnection{gateway: g, conn: conn}
}

func (c *openConnection) echo(t *testing.T, when string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), gatewaytest.Patience)
	defer cancel()
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(when)); err != nil {
		t.Fatalf("websocket %s: %v", when, err)
	}
	if _, got, err := c.conn.Read(ctx); err != nil || string(got) != when {
		t.Fatalf("websocket %s: %q, %v", when, got, err)
	}
}

// echoServer sends every WebSocket message back.
func echoServer(t *testing.T) int {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			if err := conn.Write(r.Context(), kind, message); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
