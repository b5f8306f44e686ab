package xds_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/xds"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// client subscribes as Envoy does: to all clusters and listeners, to the assignment of every cluster that
// has one, and to one RouteConfiguration for each listener. It accepts everything.
type client struct {
	stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	out    chan *discovery.DeltaDiscoveryRequest // so that receiving never waits for sending

	mu   sync.Mutex
	has  map[snapshot.Type]map[string]string // versions by name
	sent []string                            // type and name of every message since the last call of messages
}

func connect(t testing.TB) (*xds.Server, *client) {
	t.Helper()
	server := xds.NewServer(slog.New(slog.DiscardHandler), nil)
	path := filepath.Join(envoytest.SocketDir(t), "xds.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	rpc := grpc.NewServer()
	server.Register(rpc)
	go func() { _ = rpc.Serve(listener) }()
	t.Cleanup(rpc.Stop)
	connection, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{stream: stream, out: make(chan *discovery.DeltaDiscoveryRequest, 1<<16), has: map[snapshot.Type]map[string]string{}}
	for _, kind := range snapshot.Types() {
		c.has[kind] = map[string]string{}
	}
	c.request(snapshot.Cluster, nil, nil)
	go c.send()
	go c.run()
	return server, c
}

func (c *client) request(kind snapshot.Type, subscribe, unsubscribe []string) {
	c.out <- &discovery.DeltaDiscoveryRequest{TypeUrl: kind.URL(), ResourceNamesSubscribe: subscribe, ResourceNamesUnsubscribe: unsubscribe}
}

func (c *client) send() {
	for request := range c.out {
		if c.stream.Send(request) != nil {
			return // the test is over
		}
	}
}

func (c *client) run() {
	listening := false
	for {
		response, err := c.stream.Recv()
		if err != nil {
			return
		}
		kind, _ := snapshot.TypeOf(response.GetTypeUrl())
		c.take(kind, response)
		c.out <- &discovery.DeltaDiscoveryRequest{TypeUrl: kind.URL(), ResponseNonce: response.GetNonce()}
		if !listening { // Envoy asks for listeners once it has heard of clusters
			listening = true
			c.request(snapshot.Listener, nil, nil)
		}
	}
}

func (c *client) take(kind snapshot.Type, response *discovery.DeltaDiscoveryResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	needs := map[snapshot.Type]snapshot.Type{snapshot.Cluster: snapshot.Endpoint, snapshot.Listener: snapshot.Route}
	for _, r := range response.GetResources() {
		_, had := c.has[kind][r.GetName()]
		c.has[kind][r.GetName()] = r.GetVersion()
		c.sent = append(c.sent, string(kind)+" "+r.GetName())
		if of, ok := needs[kind]; ok && !had {
			c.request(of, []string{r.GetName()}, nil)
		}
	}
	for _, name := range response.GetRemovedResources() {
		if _, had := c.has[kind][name]; !had {
			continue // it asked for what isn't there
		}
		delete(c.has[kind], name)
		c.sent = append(c.sent, "removed "+string(kind)+" "+name)
		if of, ok := needs[kind]; ok {
			delete(c.has[of], name)
			c.request(of, nil, []string{name})
		}
	}
}

func (c *client) messages() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := c.sent
	c.sent = nil
	return sent
}

// equals reports how the client's state differs from a snapshot, "" if it doesn't.
func (c *client) differs(snap *snapshot.Snapshot) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kind := range snapshot.Types() {
		want := map[string]string{}
		for _, r := range snap.Resources[kind] {
			want[r.Name] = r.Version
		}
		if !maps.Equal(want, c.has[kind]) {
			return fmt.Sprintf("%s: client has %v, want %v", kind, c.has[kind], want)
		}
	}
	return ""
}

func publish(t testing.TB, server *xds.Server, snap *snapshot.Snapshot) {
	t.Helper()
	server.Publish(snap)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for changed := server.Changed(); !server.Synced(snap); changed = server.Changed() {
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("the client isn't in sync after 30 s")
		}
	}
}

// world is a state of resources: versions by name. A cluster has an assignment, a listener has routes.
type world struct{ clusters, endpoints, listeners, routes map[string]int }

func newWorld() world {
	return world{map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}}
}

func (w world) snapshot() *snapshot.Snapshot {
	list := func(kind snapshot.Type, versions map[string]int) []snapshot.Resource {
		var all []snapshot.Resource
		for _, name := range slices.Sorted(maps.Keys(versions)) {
			r := snapshot.NewResource(name, fmt.Appendf(nil, "%s %d", name, versions[name]))
			if kind == snapshot.Cluster {
				r.EDS = name
			}
			all = append(all, r)
		}
		return all
	}
	return &snapshot.Snapshot{Resources: map[snapshot.Type][]snapshot.Resource{
		snapshot.Cluster: list(snapshot.Cluster, w.clusters), snapshot.Endpoint: list(snapshot.Endpoint, w.endpoints),
		snapshot.Listener: list(snapshot.Listener, w.listeners), snapshot.Route: list(snapshot.Route, w.routes),
	}}
}

func TestAnEditSendsWhatHasChanged(t *testing.T) {
	t.Parallel()
	server, c := connect(t)
	w := newWorld()
	for i := range 200 {
		name := fmt.Sprintf("c%03d", i)
		w.clusters[name], w.endpoints[name] = 1, 1
	}
	w.listeners["l"], w.routes["l"] = 1, 1
	publish(t, server, w.snapshot())
	c.messages()
	for _, step := range []struct {
		name string
		edit func()
		want []string
	}{
		{"nothing", func() {}, nil},
		{"endpoints", func() { w.endpoints["c007"]++ }, []string{"endpoint c007"}},
		{"a cluster, whose assignment goes out again", func() { w.clusters["c007"]++ }, []string{"cluster c007", "endpoint c007"}},
		{"routes", func() { w.routes["l"]++ }, []string{"route l"}},
		{"all at once, what is referred to first", func() {
			w.listeners["l"]++
			w.routes["l"]++
			w.endpoints["c100"]++
			w.clusters["c009"]++
		}, []string{"cluster c009", "endpoint c009", "endpoint c100", "route l", "listener l"}},
		{"one cluster for another, the old one last", func() {
			delete(w.clusters, "c001")
			delete(w.endpoints, "c001")
			w.clusters["new"], w.endpoints["new"] = 1, 1
			w.routes["l"]++
		}, []string{"cluster new", "endpoint new", "route l", "removed cluster c001"}},
	} {
		step.edit()
		snap := w.snapshot()
		publish(t, server, snap)
		got := c.messages()
		if step.name == "one cluster for another, the old one last" {
			got = slices.Compact(got) // the assignment is asked for, and in the plan
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("%s: sent %q, want %q", step.name, got, step.want)
		}
		if difference := c.differs(snap); difference != "" {
			t.Errorf("%s: %s", step.name, difference)
		}
	}
}

// TestAnySequenceOfWorldsEndsInTheLast: also one that is published while another is still being sent.
func TestAnySequenceOfWorldsEndsInTheLast(t *testing.T) {
	t.Parallel()
	server, c := connect(t)
	random := rand.New(rand.NewPCG(1, 1))
	w := newWorld()
	w.listeners["l"], w.routes["l"] = 1, 1
	for range 600 {
		name := fmt.Sprintf("c%d", random.IntN(12))
		switch random.IntN(6) {
		case 0:
			delete(w.clusters, name)
			delete(w.endpoints, name)
		case 1, 2:
			w.clusters[name]++
			w.endpoints[name]++
		case 3:
			w.routes["l"]++
		case 4:
			l := fmt.Sprintf("l%d", random.IntN(3))
			w.listeners[l]++
			w.routes[l]++
		case 5:
			l := fmt.Sprintf("l%d", random.IntN(3))
			delete(w.listeners, l)
			delete(w.routes, l)
		}
		snap := w.snapshot()
		if random.IntN(3) > 0 {
			server.Publish(snap)
			continue
		}
		publish(t, server, snap)
		if difference := c.differs(snap); difference != "" {
			t.Fatal(difference)
		}
	}
}

// BenchmarkEdit publishes one changed assignment among many until the client has answered.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("clusters=%d", n), func(b *testing.B) {
			server, _ := connect(b)
			w := newWorld()
			for i := range n {
				name := fmt.Sprintf("c%05d", i)
				w.clusters[name], w.endpoints[name] = 1, 1
			}
			w.listeners["l"], w.routes["l"] = 1, 1
			first := w.snapshot()
			publish(b, server, first)
			w.endpoints["c00007"]++
			second := w.snapshot()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				publish(b, server, []*snapshot.Snapshot{second, first}[i%2])
			}
		})
	}
}
