package sdktest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/emulate"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/h1"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/h2"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// exchangeKey is where initial metadata and the request at the upstream say which exchange they are of.
const exchangeKey = "x-sdktest-exchange"

// RealEnvoy is a running Envoy, each of whose exchanges has a listener with a filter of its own.
type RealEnvoy struct {
	t     testing.TB
	envoy *envoytest.Envoy
	dir   string
	last  atomic.Int64
	// mortals counts the servers that are to die, each of which needs a cluster of its own.
	mortals atomic.Int64

	barrier *h2.Client // to a listener that every exchange's thread serves

	mu        sync.Mutex
	listeners map[int]string // JSON by exchange
	exchanges map[int]*envoyExchange
	version   int
	log       *bufio.Reader // the access log; one for all, as Envoy has a thread for each
	line      []byte        // what of a line has come so far
	records   map[int]logLine
}

// Envoy starts a real Envoy for the whole of the test: $ENVOY, else envoy in PATH. Without one the test
// fails. Its Run takes what [Run] takes and gives what Run gives.
func Envoy(t testing.TB) *RealEnvoy {
	t.Helper()
	dir := envoytest.SocketDir(t)
	e := &RealEnvoy{t: t, dir: dir, listeners: map[int]string{}, exchanges: map[int]*envoyExchange{}}
	e.records = map[int]logLine{}
	e.publish()
	e.openLog()
	e.serve()
	e.envoy = envoytest.Start(t, e.bootstrap(), "--drain-time-s", "1", "--file-flush-interval-msec", "10",
		"--component-log-level", "ext_proc:error")
	e.openBarrier()
	return e
}

func (e *RealEnvoy) openBarrier() {
	c, err := (&net.Dialer{}).DialContext(e.t.Context(), "unix", filepath.Join(e.dir, "barrier"))
	if err != nil {
		e.t.Fatal(err)
	}
	if e.barrier, err = h2.NewClient(c); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = e.barrier.Close() })
}

// handled returns when Envoy has handled all that it has read. It has one worker, which takes one event
// after another.
func (e *RealEnvoy) handled() { e.barrier.Ping() }

func (e *RealEnvoy) openLog() {
	file, err := os.Create(filepath.Join(e.dir, "log"))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = file.Close() })
	e.log = bufio.NewReader(file)
}

// Version is the Envoy's version, such as 1.40.0.
func (e *RealEnvoy) Version(t testing.TB) string {
	t.Helper()
	var info struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal([]byte(e.envoy.Get(t, "/server_info")), &info); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(info.Version, "/")
	if len(parts) < 2 {
		t.Fatalf("version %q", info.Version)
	}
	return parts[1]
}

// Run has processor handle one exchange behind filter f of the real Envoy. It may be called from parallel
// tests.
func (e *RealEnvoy) Run(t testing.TB, processor any, f Filter, r Request) *Result {
	t.Helper()
	return run(t, processor, f, r, e.carry)
}

// serve listens as the processor and as the upstream.
func (e *RealEnvoy) serve() {
	processor, err := net.Listen("unix", filepath.Join(e.dir, "processor"))
	if err != nil {
		e.t.Fatal(err)
	}
	server := newServer(e.dispatch)
	go func() { _ = server.Serve(processor) }()
	e.t.Cleanup(server.Stop)
	upstream, err := net.Listen("unix", filepath.Join(e.dir, "upstream"))
	if err != nil {
		e.t.Fatal(err)
	}
	go h2.Serve(upstream, func(s *h2.Stream, h []link.Field) link.End { return e.arrived(s, h) })
	e.t.Cleanup(func() { _ = upstream.Close() })
	if upstream, err = net.Listen("unix", filepath.Join(e.dir, "upstream1")); err != nil {
		e.t.Fatal(err)
	}
	go h1.Serve(upstream, func(back *h1.Conn, h []link.Field) link.End { return e.arrived(back, h) }, e.handled)
	e.t.Cleanup(func() { _ = upstream.Close() })
}

// dispatch gives a stream to the exchange that it is of.
func (e *RealEnvoy) dispatch(ss grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(ss.Context())
	tag, inner := strings.CutSuffix(strings.Join(md.Get(exchangeKey), ""), innerTag)
	switch x := e.find(tag); {
	case x == nil:
	case inner:
		return x.inner(ss)
	default:
		return x.serve(ss)
	}
	return fmt.Errorf("no exchange %q", md.Get(exchangeKey))
}

func (e *RealEnvoy) arrived(back link.Sender, h []link.Field) link.End {
	text, _ := link.Get(h, exchangeKey)
	x := e.find(text)
	if x == nil {
		back.Reset()
		return nil
	}
	return x.upstream(back, h)
}

func (e *RealEnvoy) find(text string) *envoyExchange {
	id, _ := strconv.Atoi(text)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.exchanges[id]
}

// publish writes the listeners that there are to the file that Envoy watches, by renaming, which is what it
// watches for.
func (e *RealEnvoy) publish() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version++
	all := slices.Collect(maps.Values(e.listeners))
	text := fmt.Sprintf(`{"version_info":"%d","resources":[%s]}`, e.version, strings.Join(all, ","))
	path := filepath.Join(e.dir, "lds.json")
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		e.t.Fatal(err)
	}
}

// envoyExchange is the proxy of one exchange: a listener.
type envoyExchange struct {
	envoy      *RealEnvoy
	t          testing.TB
	ctx        context.Context
	id         int
	serve      func(ss grpc.ServerStream) error
	inner      func(ss grpc.ServerStream) error
	upstream   func(back link.Sender, h []link.Field) link.End
	http1      bool
	connection *Connection
	client     io.Closer
	mortal     *grpc.Server // its own server, if that is to die
	counted    string
}

// carry is a carrier.
func (e *RealEnvoy) carry(ctx context.Context, t testing.TB, f Filter, serve, inner func(ss grpc.ServerStream) error) proxy {
	t.Helper()
	x := &envoyExchange{envoy: e, t: t, ctx: ctx, id: int(e.last.Add(1)), serve: serve, inner: inner, http1: f.HTTP1, connection: f.Connection}
	x.counted = fmt.Sprintf("http.x.ext_proc.x%d", x.id)
	cluster := "processor"
	switch {
	case f.Unreachable:
		cluster = "nobody"
	case f.Dies > 0, f.Cold > 0:
		cluster = fmt.Sprintf("mortal%d", e.mortals.Add(1))
		x.serveMortal(cluster, f.Cold)
	}
	listener, err := e.listener(x.id, f, cluster)
	if err != nil {
		t.Fatal(err)
	}
	e.mu.Lock()
	e.listeners[x.id], e.exchanges[x.id] = listener, x
	e.mu.Unlock()
	e.publish()
	return x
}

// serveMortal listens as a processor of this exchange alone.
func (x *envoyExchange) serveMortal(cluster string, cold time.Duration) {
	l, err := net.Listen("unix", filepath.Join(x.envoy.dir, cluster))
	if err != nil {
		x.t.Fatal(err)
	}
	x.mortal = newServer(x.serve)
	serveLater(x.ctx, x.mortal, l, cold)
	x.t.Cleanup(x.mortal.Stop)
}

func (x *envoyExchange) die() { x.mortal.Stop() }

func (x *envoyExchange) socket() string { return filepath.Join(x.envoy.dir, "l"+strconv.Itoa(x.id)) }

// open connects, once Envoy has the listener.
func (x *envoyExchange) open(client link.End, upstream func(back link.Sender, h []link.Field) link.End) link.Sender {
	x.upstream = upstream
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		down, err := x.connect(client)
		if err == nil {
			return down
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			x.t.Fatalf("Envoy didn't open the listener: %v\n%s", err, x.envoy.envoy.Output())
		}
	}
}

// connect opens the client's connection, if Envoy has the listener by now.
func (x *envoyExchange) connect(client link.End) (link.Sender, error) {
	c, err := (&net.Dialer{}).DialContext(x.ctx, "unix", x.socket())
	if err != nil {
		return nil, err
	}
	protocol := "h2"
	if x.http1 {
		protocol = "http/1.1"
	}
	dressed, err := x.connection.dress(x.ctx, c, protocol)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	if x.http1 {
		one := h1.Open(dressed, client, x.envoy.handled)
		x.client = one
		return one, nil
	}
	two, err := h2.NewClient(dressed)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	x.client = two
	return two.Open(client), nil
}

func (x *envoyExchange) handled() (n uint64) {
	for _, value := range x.envoy.envoy.Stats(x.t, "^"+regexp.QuoteMeta(x.counted)+`(`+innerTag+`)?\.stream_msgs_received$`) {
		n += value
	}
	return n
}

// close takes down the listener. The access log tells what is known at the end of the exchange.
func (x *envoyExchange) close() (report emulate.Report, err error) {
	record, err := x.awaitRecord()
	report.Counters, report.Inner = x.counters("."), x.counters(innerTag+".")
	report.Details, report.Metadata = strings.ReplaceAll(record.Details, x.envoy.dir, ""), record.Metadata
	report.Rerouted = record.Route == "again"
	_ = x.client.Close()
	e := x.envoy
	e.mu.Lock()
	delete(e.listeners, x.id)
	delete(e.exchanges, x.id)
	e.mu.Unlock()
	e.publish()
	return report, err
}

// counters are those of the filter with that tag, but for those that are 0.
func (x *envoyExchange) counters(tag string) map[string]uint64 {
	out := map[string]uint64{}
	for name, value := range x.envoy.envoy.Stats(x.t, "^"+regexp.QuoteMeta(x.counted+tag)) {
		if value > 0 {
			out[strings.TrimPrefix(name, x.counted+tag)] = value
		}
	}
	return out
}

// logLine is a line of the access log.
type logLine struct {
	ID       string                      `json:"id"`
	Details  string                      `json:"details"`
	Route    string                      `json:"route"`
	Raw      map[string]json.RawMessage  `json:"metadata"`
	Metadata map[string]*structpb.Struct `json:"-"`
}

func (x *envoyExchange) awaitRecord() (logLine, error) {
	tick := time.NewTicker(3 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		if r, ok := x.readRecord(); ok {
			return r, nil
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return logLine{}, fmt.Errorf("no access log of exchange %d", x.id)
		}
	}
}

// readRecord takes the exchange's line out of what the access log has by now.
func (x *envoyExchange) readRecord() (r logLine, ok bool) {
	e := x.envoy
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		line, err := e.log.ReadBytes('\n')
		e.line = append(e.line, line...)
		if err != nil { // the end, for now
			r, ok = e.records[x.id]
			delete(e.records, x.id)
			return r, ok
		}
		e.file(e.line)
		e.line = nil
	}
}

// file keeps a line of the access log for its exchange. Whoever calls it has the lock.
func (e *RealEnvoy) file(line []byte) {
	r := logLine{Metadata: map[string]*structpb.Struct{}}
	if err := json.Unmarshal(line, &r); err != nil {
		return
	}
	for ns, raw := range r.Raw {
		value := new(structpb.Struct)
		if string(raw) != "null" && value.UnmarshalJSON(raw) == nil {
			r.Metadata[ns] = value
		}
	}
	id, _ := strconv.Atoi(r.ID)
	e.records[id] = r
}
