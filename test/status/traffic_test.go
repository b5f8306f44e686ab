package status_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/internal/netnstest"
	"github.com/gatehouse-proxy/gatehouse/internal/statuscases"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
)

func TestMain(m *testing.M) { gatewaytest.Main(m) }

// backends are the servers at the addresses of the cases' Services and Backends.
var backends = map[string]string{"10.0.0.1": "s", "10.0.0.2": "far", "10.0.0.3": "b"}

func TestTrafficOfConflictCases(t *testing.T)    { testTraffic(t, "conflicts") }
func TestTrafficOfGatewayCases(t *testing.T)     { testTraffic(t, "gateways") }
func TestTrafficOfListenerSetCases(t *testing.T) { testTraffic(t, "listenersets") }
func TestTrafficOfPolicyCases(t *testing.T)      { testTraffic(t, "policies") }
func TestTrafficOfRouteCases(t *testing.T)       { testTraffic(t, "routes") }

// testTraffic has one gateway serve the cases of a file one after the other. The running gateway must tell
// the statuses that are known from the objects alone, and the requests of the case must be answered as it
// says. Everything happens in a network namespace, where the ports and addresses of the cases are free.
func testTraffic(t *testing.T, file string) {
	addresses := make([]string, 0, len(backends))
	for address := range backends {
		addresses = append(addresses, address)
	}
	netnstest.Run(t, addresses, func(t *testing.T) {
		for address, name := range backends {
			gatewaytest.NewBackendAt(t, name, address+":80")
		}
		g := gatewaytest.Start(t, map[string]string{"case.yaml": marker("marker-start")})
		for _, f := range statuscases.Read(t, "../../translator/kubestatus/testdata") {
			if f.Name != file {
				continue
			}
			for i := range f.Cases {
				t.Run(f.Cases[i].Name, func(t *testing.T) { runCase(t, g, i, &f.Cases[i]) })
			}
		}
	})
}

func runCase(t *testing.T, g *gatewaytest.Gateway, number int, c *statuscases.Case) {
	// Between two cases there is nothing that a faulty object could keep of what it was.
	between := fmt.Sprintf("marker-before-%d", number)
	g.Write(t, "case.yaml", marker(between))
	await(t, g, between)
	name := fmt.Sprintf("marker-%d", number)
	g.Write(t, "case.yaml", strings.Join(append(c.Objects, marker(name)), "---\n"))
	got := statuscases.Lines(await(t, g, name), "True/Programmed")
	if got != c.Want() {
		t.Errorf("got\n%swant\n%s", got, c.Want())
	}
	exchanges := parse(t, c.Traffic)
	if len(exchanges) == 0 {
		t.Error("the case has no traffic")
	}
	for _, e := range exchanges {
		if err := settle(t, &e); err != nil {
			t.Error(err)
		}
	}
}

// settle gives Envoy a moment: it acknowledges a configuration before every worker has it, and closes the
// sockets of a listener that is gone later.
func settle(t *testing.T, e *exchange) error {
	t.Helper()
	deadline := time.Now().Add(3 * time.Second)
	for {
		err := e.check(t.Context())
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// marker is an object that nothing serves: when it shows, so do all others of its file.
func marker(name string) string {
	return "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: " + name + "}\nspec: {controllerName: example.com/marker}\n"
}

// await returns the statuses of all objects but markers, once Envoy has answered for them.
func await(t *testing.T, g *gatewaytest.Gateway, name string) []kubestatus.Object {
	t.Helper()
	var objects []kubestatus.Object
	gatewaytest.Eventually(t, "statuses of "+name, func() error {
		var all []kubestatus.Object
		page := g.AdminPage(t, "/api/status")
		if err := json.Unmarshal([]byte(page), &all); err != nil {
			return err
		}
		objects = objects[:0]
		there := false
		for _, o := range all {
			there = there || o.Metadata.Name == name
			if !strings.HasPrefix(o.Metadata.Name, "marker-") {
				objects = append(objects, o)
			}
		}
		if !there || strings.Contains(page, `"Pending"`) || strings.Contains(page, `"PortUnavailable"`) {
			return errors.New(page)
		}
		return nil
	})
	return objects
}
