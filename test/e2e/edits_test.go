package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const (
	editedRoutes = 12
	edits        = 1000
	clients      = 32
	users        = 8
	open         = -1 // the state of a route without a policy
	gone         = -2 // and of one that was deleted
)

// period is a state of a route and when it can have been in force: from the moment its file was written
// until the one in which its successor was seen.
type period struct {
	revision    int // of the policy, or open, or gone
	admits      uint8
	from, until time.Time
}

// timeline is the history of every route as the editor made it: the independent table.
type timeline struct {
	mu     sync.Mutex
	routes [editedRoutes][]period
}

func (l *timeline) begin(route int, p period) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.routes[route] = append(l.routes[route], p)
}

func (l *timeline) confirmed(route int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.routes[route]); n > 1 {
		l.routes[route][n-2].until = at
	}
}

// observation is one answered request.
type observation struct {
	route, user, status, revision int
	start, end                    time.Time
}

// check returns what is wrong with an observation, "" if it agrees with the table. A route may be open,
// or gone, several times.
func (l *timeline) check(o observation) string {
	fault := fmt.Sprintf("revision %d never was", o.revision)
	for _, p := range l.routes[o.route] {
		switch {
		case p.revision != o.revision:
		case o.end.Before(p.from) || !p.until.IsZero() && o.start.After(p.until):
			fault = fmt.Sprintf("revision %d was not in force at any time of the request", o.revision)
		case o.status != p.status(o.user):
			return fmt.Sprintf("revision %d answered %d, the table says %d", o.revision, o.status, p.status(o.user))
		default:
			return ""
		}
	}
	return fault
}

func (p period) status(user int) int {
	switch {
	case p.revision == gone:
		return http.StatusNotFound
	case p.revision == open || p.admits&(1<<user) != 0:
		return http.StatusOK
	}
	return http.StatusForbidden
}

func editedRoute(i int) string {
	return routeManifest("r"+itoa(i), prefix("/r"+itoa(i)), "b")
}

// revisionPolicy admits the users of a bit set and writes its number where the test reads it: to the
// backend if it admits, to the client if not.
func revisionPolicy(route, revision int, admits uint8) string {
	return policyManifest("r"+itoa(route), fmt.Sprintf(`
  opa:
    timeout: 1500ms # an evaluation that a busy machine cuts off answers 503, which the table doesn't know
    decision: envoy/authz/result
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        user := to_number(input.attributes.request.http.headers["x-user"])
        result := {"allowed": bits.and(bits.rsh(%d, user), 1) == 1, "headers": {"x-revision": "%d"}}
`, admits, revision))
}

// observe sends one request and reads which revision decided it.
func observe(client *http.Client, port, route, user int) (observation, error) {
	o := observation{route: route, user: user, start: time.Now()}
	request, err := http.NewRequest(http.MethodGet, at(port, "/r"+itoa(route)), nil)
	if err != nil {
		return o, err
	}
	request.Header.Set("x-user", itoa(user))
	request.Header.Set("x-want-echo", "x-revision")
	response, err := client.Do(request)
	if err != nil {
		return o, err
	}
	o.end, o.status = time.Now(), response.StatusCode
	o.revision = open
	if text := response.Header.Get("x-revision"); text != "" {
		if o.revision, err = strconv.Atoi(text); err != nil {
			return o, err
		}
	} else if o.status == http.StatusNotFound {
		o.revision = gone
	}
	return o, response.Body.Close()
}

// TestAThousandEditsUnderLoad: at no time does a request meet anything but a state that the operator had
// put in force.
func TestAThousandEditsUnderLoad(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := map[string]string{"base.yaml": gatewayManifest(port) + "\n---\n" + backendManifest("b", backend.Port)}
	history := &timeline{}
	for i := range editedRoutes {
		manifests[fmt.Sprintf("r%d.yaml", i)] = editedRoute(i)
		history.begin(i, period{revision: open})
	}
	g := gatewaytest.Start(t, manifests)
	load := startLoad(t, port)
	random := rand.New(rand.NewPCG(1, 2))
	n := edits
	if testing.Short() {
		n = 60
	}
	for revision := 1; revision <= n; revision++ {
		edit(t, g, history, random, port, revision)
	}
	observations := load.stop()

	wrong, byState := 0, map[int]int{}
	for _, o := range observations {
		if o.revision > 0 {
			byState[1]++
		} else {
			byState[o.revision]++
		}
		if fault := history.check(o); fault != "" {
			if wrong++; wrong <= 10 {
				t.Errorf("route %d, user %d, status %d after %v: %s", o.route, o.user, o.status, o.end.Sub(o.start), fault)
			}
		}
	}
	if wrong > 10 {
		t.Errorf("and %d more", wrong-10)
	}
	if n == edits && (byState[1] < 1000 || byState[open] < 100 || byState[gone] < 100) {
		t.Errorf("the load was no test: %v observations", byState)
	}
	if modified := g.Stat(t, "listener_manager.listener_modified"); modified != 0 {
		t.Errorf("listener_modified is %d, want 0", modified)
	}
	t.Logf("%d requests: %d by policies, %d open, %d gone", len(observations), byState[1], byState[open], byState[gone])
}

// edit puts one route into another state and waits until that shows.
func edit(t *testing.T, g *gatewaytest.Gateway, history *timeline, random *rand.Rand, port, revision int) {
	t.Helper()
	route := random.IntN(editedRoutes)
	last := history.routes[route][len(history.routes[route])-1].revision
	next := period{revision: revision, admits: uint8(random.IntN(256)), from: time.Now()}
	routeFile, policyFile := fmt.Sprintf("r%d.yaml", route), fmt.Sprintf("p%d.yaml", route)
	switch kind := random.IntN(10); {
	case last == gone:
		next.revision = open
		history.begin(route, next)
		g.Write(t, routeFile, editedRoute(route))
	case kind == 0 && last == open:
		next.revision = gone
		history.begin(route, next)
		g.Remove(t, routeFile)
	case kind <= 1 && last != open:
		next.revision = open
		history.begin(route, next)
		g.Remove(t, policyFile)
	default:
		history.begin(route, next)
		g.Write(t, policyFile, revisionPolicy(route, revision, next.admits))
	}
	gatewaytest.Eventually(t, fmt.Sprintf("edit %d of route %d", revision, route), func() error {
		o, err := observe(http.DefaultClient, port, route, 0)
		if err == nil && o.revision != next.revision {
			err = fmt.Errorf("revision %d (status %d), want %d", o.revision, o.status, next.revision)
		}
		return err
	})
	history.confirmed(route, time.Now())
}

// load is the clients' requests.
type load struct {
	ended   atomic.Bool
	group   sync.WaitGroup
	results [clients][]observation
}

func startLoad(t *testing.T, port int) *load {
	t.Helper()
	l := &load{}
	for c := range clients {
		l.group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: gatewaytest.Patience}
			defer client.CloseIdleConnections()
			for !l.ended.Load() {
				o, err := observe(client, port, rand.IntN(editedRoutes), rand.IntN(users))
				if err != nil {
					t.Errorf("request failed: %v", err)
					return
				}
				l.results[c] = append(l.results[c], o)
				time.Sleep(20 * time.Millisecond) // 1,600 requests/s in all: the machine has two cores
			}
		})
	}
	return l
}

func (l *load) stop() []observation {
	l.ended.Store(true)
	l.group.Wait()
	var all []observation
	for _, results := range l.results {
		all = append(all, results...)
	}
	return all
}
