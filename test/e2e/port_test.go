package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestPortInUse: the listener waits for its port, the others serve, and nobody shares a port silently.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	backend, port, taken := gatewaytest.NewBackend(t, "b"), freePort(t), freePort(t)
	occupant, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", taken))
	if err != nil {
		t.Fatal(err)
	}
	second := strings.Replace(gatewayManifest(taken), "name: gw", "name: gw2", 1)
	both := strings.Replace(routeManifest("r", prefix("/"), "b"), "[{name: gw}]", "[{name: gw}, {name: gw2}]", 1)
	g := gatewaytest.Start(t, all(gatewayManifest(port), second, backendManifest("b", backend.Port), both))
	if a := gatewaytest.Get(t, at(port, "/")); a.Status != 200 {
		t.Errorf("the other listener: %d, want 200", a.Status)
	}
	if !strings.Contains(g.Output(), fmt.Sprintf("127.0.0.1:%d is in use by another program", taken)) {
		t.Error("the log doesn't name the port and the remedy")
	}
	if err := occupant.Close(); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Await(t, at(taken, "/"), 200)
	if n := g.Stat(t, "listener_manager.listener_modified"); n != 0 {
		t.Errorf("listener_modified is %d", n)
	}

	// A second gateway on the same port must not get a part of the connections.
	other := gatewaytest.Start(t, all(gatewayManifest(port)))
	if !strings.Contains(other.Output(), fmt.Sprintf("127.0.0.1:%d is in use by another program", port)) {
		t.Error("the second gateway doesn't say that the port is taken")
	}
	for range 50 {
		if a := gatewaytest.Get(t, at(port, "/")); a.Status != 200 {
			t.Fatalf("beside a second gateway: %d, want 200", a.Status)
		}
	}
}
