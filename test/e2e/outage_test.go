package e2e

import (
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// probe is a kind of request that clients keep sending, with what came of it.
type probe struct {
	name   string
	path   string
	header []string

	mu      sync.Mutex
	answers []probeAnswer
}

type probeAnswer struct {
	id         string
	status     int
	start, end time.Time
}

// outage is a gateway with Envoy as a process of its own, under load.
type outage struct {
	backend                *gatewaytest.Backend
	port                   int
	guarded, foreign, open *probe
	ended                  atomic.Bool
	group                  sync.WaitGroup
}

// slowest is the longest that an answer took since then.
func (p *probe) slowest(since time.Time) time.Duration {
	var longest time.Duration
	for _, a := range p.answers {
		if a.end.After(since) {
			longest = max(longest, a.end.Sub(a.start))
		}
	}
	return longest
}

// clientsEach is how many clients send each kind of request.
const clientsEach = 4

func (o *outage) load(t *testing.T) {
	t.Helper()
	var ids atomic.Int64
	for _, p := range []*probe{o.guarded, o.foreign, o.open} {
		for range clientsEach {
			o.group.Go(func() {
				for !o.ended.Load() {
					a := probeAnswer{id: strconv.FormatInt(ids.Add(1), 10), start: time.Now()}
					got, err := gatewaytest.Try(http.MethodGet, at(o.port, p.path), append([]string{"x-id: " + a.id}, p.header...)...)
					if err != nil {
						t.Errorf("%s: %v", p.name, err)
						return
					}
					a.status, a.end = got.Status, time.Now()
					p.mu.Lock()
					p.answers = append(p.answers, a)
					p.mu.Unlock()
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
	}
}

// TestAuthorizerKilled: without it protected routes answer 503 at once, the others serve on and nothing
// passes unchecked; when it is back, Envoy is in sync and verdicts flow.
func TestAuthorizerKilled(t *testing.T) {
	t.Parallel()
	o := &outage{
		backend: gatewaytest.NewBackend(t, "b"), port: freePort(t),
		guarded: &probe{name: "with a password", path: "/guarded", header: []string{basicAlice}},
		foreign: &probe{name: "without a password", path: "/guarded/foreign"},
		open:    &probe{name: "open", path: "/open"},
	}
	manifests := all(gatewayManifest(o.port), usersManifest, backendManifest("b", o.backend.Port),
		routeManifest("guarded", prefix("/guarded"), "b"), policyManifest("guarded", basicSpec),
		routeManifest("open", prefix("/open"), "b"))
	g := gatewaytest.Launch(t, manifests, gatewaytest.Args("--envoy", "none"))
	startOwnEnvoy(t, g)
	gatewaytest.Await(t, at(o.port, "/guarded"), http.StatusOK, basicAlice)
	o.load(t)
	if err := syscall.Kill(g.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.Wait(t)
	gone := time.Now()
	length := 40 * time.Second // long enough for Envoy's default back-off to grow to its limit of 30 s
	if testing.Short() {
		length = time.Second
	}
	time.Sleep(length)
	back := time.Now()
	again, verdict, inSync := relaunch(t, o.port, g.State, manifests)
	o.ended.Store(true)
	o.group.Wait()
	slowest := o.open.slowest(back)
	t.Logf("after an outage of %v: first verdict %v after the socket's return, in sync after %v; the slowest open answer took %v",
		length, verdict, inSync, slowest)
	// A busy machine is slow for open routes too; a verdict takes two processes of it, they take one.
	if verdict > 50*time.Millisecond+2*slowest || inSync > time.Second+2*slowest {
		t.Errorf("first verdict after %v, in sync after %v", verdict, inSync)
	}
	o.check(t, gone, back)
	again.Write(t, "more.yaml", routeManifest("more", prefix("/more"), "b"))
	gatewaytest.Await(t, at(o.port, "/more"), http.StatusOK)
}

// relaunch starts the gateway again and measures from the moment in which its authorizer can be reached.
func relaunch(t *testing.T, port int, state string, manifests map[string]string) (g *gatewaytest.Gateway, verdict, inSync time.Duration) {
	t.Helper()
	g = gatewaytest.Launch(t, manifests, gatewaytest.Args("--envoy", "none", "--state", state))
	gatewaytest.Eventually(t, "socket", func() error {
		conn, err := net.Dial("unix", filepath.Join(state, "authorizer.sock"))
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	returned := time.Now()
	gatewaytest.Await(t, at(port, "/guarded"), http.StatusOK, basicAlice)
	verdict = time.Since(returned)
	g.AwaitReady(t)
	return g, verdict, time.Since(returned)
}

// check compares what clients got with what may have been, and with what the backend received.
func (o *outage) check(t *testing.T, gone, back time.Time) {
	t.Helper()
	admitted := map[string]bool{}
	outage := 0
	for _, a := range o.guarded.answers {
		down := a.start.After(gone) && a.end.Before(back)
		switch {
		case a.status == http.StatusOK && !down:
			admitted[a.id] = true
		case a.status == http.StatusOK:
			t.Errorf("a request was admitted while nobody could decide")
		case a.status != http.StatusServiceUnavailable:
			t.Errorf("with a password: %d, want 200 or 503", a.status)
		case down:
			outage++
		}
		// Not after the two seconds that a verdict may take.
		if took := a.end.Sub(a.start); took > 1500*time.Millisecond {
			t.Errorf("an answer %d took %v", a.status, took)
		}
	}
	for _, a := range o.foreign.answers {
		if a.status != http.StatusUnauthorized && a.status != http.StatusServiceUnavailable {
			t.Errorf("without a password: %d, want 401 or 503", a.status)
		}
	}
	for _, a := range o.open.answers {
		if a.status != http.StatusOK {
			t.Errorf("the open route: %d, want 200", a.status)
		}
	}
	for _, r := range o.backend.Requests() {
		if id := r.Header.Get("x-id"); id != "" && strings.HasPrefix(r.Path, "/guarded") && !admitted[id] {
			t.Errorf("request %s to %s passed unchecked", id, r.Path)
		}
	}
	if outage < 10 || len(admitted) == 0 {
		t.Errorf("the load was no test: %d answers during the outage, %d requests admitted", outage, len(admitted))
	}
}
