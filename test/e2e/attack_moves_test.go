package e2e

import (
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// movedGateway is a Gateway for the hosts below its name, and the policy of its listener, in one file: its users are
// its own.
func movedGateway(name string, port int, listener, target string) string {
	users := strings.NewReplacer("{name: users}", "{name: "+name+"}", "alice:", name+":").Replace(usersManifest)
	policy := onTarget(name, target, "  basicAuth: {users: {name: "+name+"}}")
	return strings.Join([]string{listenersManifest(name, port, listener+"=*."+name+".example"), users, policy}, "\n---\n")
}

// TestAttackWhileThingsMove: at no moment of a move, a renaming, or a policy's absence does a request pass that
// neither what was before nor what comes after lets pass.
func TestAttackWhileThingsMove(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	moving := func(parents string) string {
		return strings.Replace(route("moving", "x.one.example, x.two.example", to("b")), "[{name: gw}]", "["+parents+"]", 1)
	}
	near := strings.NewReplacer("{name: users}", "{name: near}", "alice:", "near:").Replace(usersManifest) + "---" +
		policyManifest("moving", "  basicAuth: {users: {name: near}}")
	one, two := movedGateway("one", port, "l", "kind: Gateway, name: one, sectionName: l"), movedGateway("two", port, "l", "kind: Gateway, name: two")
	g := gatewaytest.Start(t, map[string]string{"backend.yaml": backendManifest("b", backend.Port), "one.yaml": one, "two.yaml": two, "route.yaml": moving("{name: one}")})
	as := func(user string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":password"))
	}

	var ended atomic.Bool
	var clients sync.WaitGroup
	for host, users := range map[string][]string{"x.one.example": {"two", "alice", ""}, "x.two.example": {"one", "alice", ""}} {
		for _, user := range users {
			clients.Go(func() {
				for !ended.Load() {
					a, err := gatewaytest.Try(http.MethodGet, at(port, "/"), "Host: "+host, as(user))
					if err == nil && (a.Status == http.StatusOK || a.Seen.Backend != "") {
						t.Errorf("%s as %q: %d", host, user, a.Status)
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
	}
	defer clients.Wait()
	defer ended.Store(true)
	passes := func(host, user string) {
		t.Helper()
		gatewaytest.Await(t, at(port, "/"), http.StatusOK, "Host: "+host, as(user))
	}
	for range 2 {
		passes("x.one.example", "one")
		g.Write(t, "route.yaml", moving("{name: two}"))
		passes("x.two.example", "two")
		gatewaytest.Await(t, at(port, "/"), http.StatusNotFound, "Host: x.one.example", as("one"))
		g.Write(t, "route.yaml", moving("{name: two}, {name: one}"))
		passes("x.one.example", "one")
		for range 2 { // the route's own policy comes and goes
			g.Write(t, "near.yaml", near)
			passes("x.two.example", "near")
			gatewaytest.Await(t, at(port, "/"), http.StatusUnauthorized, "Host: x.two.example", as("two"))
			g.Remove(t, "near.yaml")
			passes("x.two.example", "two")
		}
		g.Write(t, "one.yaml", movedGateway("one", port, "renamed", "kind: Gateway, name: one, sectionName: renamed"))
		passes("x.one.example", "one")
		g.Write(t, "one.yaml", movedGateway("one", port, "renamed", "kind: Gateway, name: one"))
		passes("x.one.example", "one")
		g.Remove(t, "one.yaml") // the Gateway goes with its policy, and comes back with it
		gatewaytest.Await(t, at(port, "/"), http.StatusNotFound, "Host: x.one.example", as("one"))
		g.Write(t, "one.yaml", one)
		passes("x.one.example", "one")
		g.Write(t, "route.yaml", moving("{name: one}"))
	}
}
