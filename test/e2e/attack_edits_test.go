package e2e

import (
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAttackBySequencesOfSlips: whatever an operator does to the files of a route that he means to protect, in
// whatever order and however slowly, no request without a password gets through. Two ways lead to the backend:
// one that a policy of the route protects, and one that a policy of the Gateway does, with a Secret of another
// namespace. A wider open route waits for what they let go.
func TestAttackBySequencesOfSlips(t *testing.T) {
	t.Parallel()
	secret, open, port := gatewaytest.NewBackend(t, "secret"), gatewaytest.NewBackend(t, "open"), freePort(t)
	files := slipFiles(port, secret.Port, open.Port)
	g := gatewaytest.Start(t, files)
	for _, path := range []string{"/route", "/gateway"} {
		gatewaytest.Await(t, at(port, path), http.StatusUnauthorized, "Host: secret.example")
		gatewaytest.Await(t, at(port, path), http.StatusOK, "Host: secret.example", basicAlice)
	}
	before := len(secret.Requests())

	var ended atomic.Bool
	var clients sync.WaitGroup
	for _, path := range []string{"/route", "/gateway"} {
		for range 4 {
			clients.Go(func() {
				for !ended.Load() {
					a, err := gatewaytest.Try(http.MethodGet, at(port, path), "Host: secret.example")
					if err == nil && (a.Status == http.StatusOK || a.Seen.Backend != "") {
						t.Errorf("%s without a password: %d from %q", path, a.Status, a.Seen.Backend)
						return
					}
					time.Sleep(2 * time.Millisecond)
				}
			})
		}
	}
	random := rand.New(rand.NewPCG(5, 6)) // the same sequence at every run
	pause := func() { time.Sleep(time.Duration(random.IntN(80)) * time.Millisecond) }
	for _, i := range random.Perm(len(slips)) {
		if !t.Failed() {
			slips[i](t, g, files, pause, random)
		}
	}
	for name, text := range files { // all is well in the end
		g.Write(t, name, text)
	}
	for _, path := range []string{"/route", "/gateway"} {
		gatewaytest.Await(t, at(port, path), http.StatusOK, "Host: secret.example", basicAlice)
	}
	ended.Store(true)
	clients.Wait()
	for _, seen := range secret.Requests()[before:] {
		if seen.Header.Get("Authorization") == "" {
			t.Fatalf("a request without a password reached the backend: %+v", seen)
		}
	}
}

func slipFiles(port, secret, open int) map[string]string {
	host := func(name, path string) string {
		return route(name, "secret.example", "matches: ["+prefix(path)+"]\n"+to("secret"))
	}
	gateway := strings.Replace(gatewayManifest(port), "listeners:", "allowedListeners: {namespaces: {from: Same}}\n  listeners:", 1)
	gateway = strings.Replace(gateway, "protocol: HTTP}", "protocol: HTTP, hostname: secret.example}, {name: rest, port: "+itoa(port)+", protocol: HTTP}", 1)
	return map[string]string{
		"gateway.yaml": gateway,
		"secret.yaml":  backendManifest("secret", secret), "open.yaml": backendManifest("open", open),
		"users.yaml":          inNamespace("far", usersManifest),
		"grant.yaml":          "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: users, namespace: far}\nspec: {from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: default}], to: [{group: '', kind: Secret}]}\n",
		"route.yaml":          host("route", "/route"),
		"viagateway.yaml":     host("viagateway", "/gateway"),
		"route-policy.yaml":   policyManifest("route", "  basicAuth: {users: {name: users, namespace: far}}"),
		"gateway-policy.yaml": strings.Replace(policyManifest("gw", "  basicAuth: {users: {name: users, namespace: far}}"), "kind: HTTPRoute, name: gw", "kind: Gateway, name: gw, sectionName: http", 1),
		"wide.yaml":           strings.Replace(route("wide", "", to("open")), "name: gw}", "name: gw, sectionName: rest}", 1),
	}
}

// guarding are the files of which each is needed for the protection, or is what is protected.
var guarding = []string{"gateway.yaml", "users.yaml", "grant.yaml", "route.yaml", "viagateway.yaml", "route-policy.yaml", "gateway-policy.yaml"}

type slip func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand)

// slips are what an operator may do to the files while he means to leave all as it is.
var slips = []slip{
	// A file is broken for a while, in several ways.
	func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand) {
		for _, name := range guarding {
			for _, broken := range []string{"kind: [", strings.Replace(files[name], "}", "", 1), strings.Replace(files[name], "spec:", "spec: {x: }\nspcc:", 1)} {
				if random.IntN(3) == 0 {
					g.Write(t, name, broken)
					pause()
					g.Write(t, name, files[name])
				}
			}
		}
	},
	// A file is written slowly, in place, after it was truncated.
	func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand) {
		name := guarding[random.IntN(len(guarding))]
		file, err := os.OpenFile(filepath.Join(g.Dir, name), os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		for half := range strings.SplitAfterSeq(files[name], "\n  ") {
			pause()
			_, _ = file.WriteString(half)
		}
		_ = file.Close()
	},
	// What the policies need goes away and comes back.
	func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand) {
		for _, name := range []string{"users.yaml", "grant.yaml"} {
			g.Remove(t, name)
			pause()
			pause()
			pause()
			g.Write(t, name, files[name])
		}
	},
	// A policy moves to another file, by the new one first or by a rename.
	func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand) {
		for _, name := range []string{"route-policy.yaml", "gateway-policy.yaml"} {
			g.Write(t, "moved-"+name, files[name])
			pause()
			g.Remove(t, name)
			pause()
			if err := os.Rename(filepath.Join(g.Dir, "moved-"+name), filepath.Join(g.Dir, name)); err != nil {
				t.Error(err)
			}
		}
	},
	// A policy gets a slip in its spec, and another method that can't be enforced.
	func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand) {
		for _, name := range []string{"route-policy.yaml", "gateway-policy.yaml"} {
			for _, spec := range []string{"  basicAuth: {users: {name: nobody}}", "  basicAuthh: {}", "  jwt: {providers: []}", "  opa: {modules: [{type: Inline, inline: 'package x y'}]}"} {
				g.Write(t, name, strings.Replace(files[name], "  basicAuth: {users: {name: users, namespace: far}}", spec, 1))
				pause()
			}
			g.Write(t, name, files[name])
		}
	},
	// A second policy of the same name or target, which asks for nothing.
	func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand) {
		allow := strings.Replace(files["route-policy.yaml"], "  basicAuth: {users: {name: users, namespace: far}}", "  cors: {allowOrigins: ['*']}", 1)
		g.Write(t, "z-second.yaml", allow)
		pause()
		g.Write(t, "z-second.yaml", strings.Replace(allow, "metadata: {name: route}", "metadata: {name: zzz}", 1))
		pause()
		g.Remove(t, "z-second.yaml")
	},
	// A younger Gateway, and a ListenerSet, want the port and hostname.
	func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand) {
		young := strings.Replace(files["gateway.yaml"], "metadata: {name: gw}", "metadata: {name: young, creationTimestamp: '2030-01-01T00:00:00Z'}", 1)
		g.Write(t, "young.yaml", young+"---\n"+strings.Replace(strings.Replace(files["route.yaml"], "name: gw", "name: young", 1), "metadata: {name: route}", "metadata: {name: young}", 1))
		pause()
		g.Write(t, "young.yaml", "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: set}\nspec: {parentRef: {name: gw}, listeners: ["+
			"{name: more, port: 80, protocol: HTTP, hostname: secret.example}]}\n")
		pause()
		g.Remove(t, "young.yaml")
	},
	// Rules before and after, and a filter that changes the route.
	func(t *testing.T, g *gatewaytest.Gateway, files map[string]string, pause func(), random *rand.Rand) {
		text := files["route.yaml"]
		for _, rule := range []string{
			"  - {matches: [{path: {type: RegularExpression, value: '/route('}}], " + to("secret") + "}\n",
			"  - {matches: [{path: {value: /route/x}}], timeouts: {request: soon}, " + to("secret") + "}\n",
		} {
			g.Write(t, "route.yaml", text+rule)
			pause()
			pause()
		}
		g.Write(t, "route.yaml", text)
	},
}
