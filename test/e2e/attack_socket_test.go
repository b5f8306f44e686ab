package e2e

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAttackOnTheGatewaysSockets: no route publishes the sockets between Envoy and Gatehouse, by which
// private keys can be read and requests decided.
func TestAttackOnTheGatewaysSockets(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	g := gatewaytest.Start(t, all(gatewayManifest(port)))
	paths := map[string]string{
		"admin": filepath.Join(g.State, "admin.sock"), "xds": filepath.Join(g.State, "xds.sock"),
		"authorizer": filepath.Join(g.State, "authorizer.sock"), "dots": g.State + "/../" + filepath.Base(g.State) + "/admin.sock",
		"slashes": g.State + "//admin.sock", "proc": "/proc/self/root" + g.State + "/admin.sock", "relative": "admin.sock",
	}
	manifests := []string{"# sockets"}
	for name, path := range paths {
		backend := strings.Replace(backendManifest(name, 1), "{ip: {address: 127.0.0.1, port: 1}}", "{unix: {path: "+path+"}}", 1)
		manifests = append(manifests, backend, route(name, name+".example", to(name)))
	}
	g.Write(t, "evil.yaml", strings.Join(manifests, "\n---\n"))
	for name := range paths {
		for _, path := range []string{"/server_info", "/config_dump"} {
			// No cluster, no connection: 500 is the answer of a route to a reference that isn't allowed.
			gatewaytest.Await(t, at(port, path), http.StatusInternalServerError, "Host: "+name+".example")
		}
	}
}
