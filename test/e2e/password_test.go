package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestS33ABcryptUserCostsOneHashForEachRotation: thousands of requests, many at a time from the first on, over
// two routes with policies of their own, cost one hash; so do those after the Secret has changed, and those
// after a policy has changed cost none.
func TestS33ABcryptUserCostsOneHashForEachRotation(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	users := func() string {
		hash, err := bcrypt.GenerateFromPassword([]byte("password"), bcrypt.DefaultCost)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData: {.htpasswd: 'alice:%s'}\n", hash)
	}
	files := all(gatewayManifest(port), backendManifest("b", backend.Port),
		routeManifest("one", prefix("/one"), "b"), policyManifest("one", basicSpec),
		routeManifest("two", prefix("/two"), "b"))
	files["two.yaml"], files["users.yaml"] = policyManifest("two", basicSpec), users()
	g := gatewaytest.Start(t, files)
	hashes := func(n int) error { // a page has one number of it
		return has(t, g.Metrics+"/metrics", fmt.Sprintf("\ngatehouse_authorizer_password_hashes_total %d\n", n))
	}
	flood := func(requests int) {
		var clients sync.WaitGroup
		for client := range 16 {
			clients.Go(func() {
				for range requests {
					a, err := gatewaytest.Try(http.MethodGet, at(port, [2]string{"/one", "/two"}[client%2]), basicAlice)
					if err != nil || a.Status != http.StatusOK {
						t.Errorf("%v %d %s", err, a.Status, a.Body)
						return
					}
				}
			})
		}
		clients.Wait()
	}
	for rotation := range 3 {
		if rotation > 0 {
			g.Write(t, "users.yaml", users())
			gatewaytest.Eventually(t, "the new Secret", func() error {
				gatewaytest.Get(t, at(port, "/one"), basicAlice)
				return hashes(rotation + 1)
			})
		}
		flood(150 / (5*rotation + 1))
		if err := hashes(rotation + 1); err != nil {
			t.Errorf("rotation %d: %v", rotation, err)
		}
	}
	g.Write(t, "two.yaml", policyManifest("two", basicSpec+"\n  cors: {allowOrigins: [\"https://a.example\"]}"))
	gatewaytest.Eventually(t, "the changed policy", func() error {
		a := gatewaytest.Get(t, at(port, "/two"), basicAlice, "Origin: https://a.example")
		if a.Status != http.StatusOK || a.Header.Get("Access-Control-Allow-Origin") == "" {
			return fmt.Errorf("%d %v", a.Status, a.Header)
		}
		return nil
	})
	flood(25)
	if err := hashes(3); err != nil {
		t.Errorf("after a policy's change: %v", err)
	}
}
