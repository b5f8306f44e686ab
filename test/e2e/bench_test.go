package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// BenchmarkFileToWire is the time from a saved policy to the first answer that it decides, with a
// gateway of 200 routes and 200 policies.
func BenchmarkFileToWire(b *testing.B) {
	backend, port := gatewaytest.NewBackend(b, "b"), envoytest.FreePort(b)
	manifests := map[string]string{"base.yaml": gatewayManifest(port) + "\n---\n" + backendManifest("b", backend.Port)}
	for i := range routes {
		manifests[fmt.Sprintf("r%d.yaml", i)] = editedRoute(i) + "\n---\n" + revisionPolicy(i, 0, 255)
	}
	g := gatewaytest.Start(b, manifests, gatewaytest.Args("--log-level", "warn"))
	revision := 0
	for b.Loop() {
		revision++
		g.Write(b, "r7.yaml", editedRoute(7)+"\n---\n"+revisionPolicy(7, revision, 255))
		gatewaytest.Eventually(b, "revision", func() error {
			o, err := observe(http.DefaultClient, port, 7, 0)
			if err == nil && o.revision != revision {
				err = fmt.Errorf("revision %d", o.revision)
			}
			return err
		})
	}
}
