package sdktest

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/emulate"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// Run has processor handle one exchange behind an emulation of Envoy's filter f, in this process, and
// returns how it went. processor is an [exchange.Processor], an *extproc.Server, a generated
// ExternalProcessorServer or a [Script].
//
// The emulator follows Envoy 1.40; docs/conformance/extproc.md is the table of what was compared. Run may
// be called from parallel tests.
func Run(t testing.TB, processor any, f Filter, r Request) *Result {
	t.Helper()
	return run(t, processor, f, r, emulated)
}

// settleTime is how long the processor may go on with a stream whose exchange is over.
const settleTime = 20 * time.Second

// A proxy is a filter that is ready for one exchange.
type proxy interface {
	// open begins an exchange: the sender leads to the proxy, the response goes to client. upstream is called
	// when a request arrives there, with the way for its response, and returns where the request goes.
	open(client link.End, upstream func(back link.Sender, h []link.Field) link.End) link.Sender
	// handled returns how many answers the filter has taken in.
	handled() uint64
	// die ends the processor's server, which is this exchange's alone if the filter says that it dies.
	die()
	// close ends the exchange, and returns what is known of it.
	close() (emulate.Report, error)
}

// carrier makes a proxy for a Filter, whose streams go to serve, and its inner filter's to inner.
type carrier func(ctx context.Context, t testing.TB, f Filter, serve, inner func(ss grpc.ServerStream) error) proxy

// session is one exchange under way.
type session struct {
	events    *atomic.Int64 // counts what happens
	ctx       context.Context
	proxy     proxy
	tap       *tap
	inner     *tap // of the inner filter
	request   Request
	client    *recorder
	asked     chan struct{} // the upstream was reached
	answering sync.WaitGroup

	mu    sync.Mutex
	tries []*recorder // what reached the upstream
}

func run(t testing.TB, processor any, f Filter, r Request, c carrier) *Result {
	t.Helper()
	patience := r.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, asked := new(atomic.Int64), make(chan struct{})
	s := &session{
		ctx: ctx, events: events,
		tap: &tap{events: events, handle: handlerOf(t, processor), endless: r.Endless, request: newGate(), response: newGate(), asked: asked,
			maxMessage: f.ReceiveLimit, dies: f.Dies},
		request: r, client: newRecorder(events), asked: asked,
	}
	s.client.digest, s.tap.digest = r.Digest, r.Digest
	s.client.method = r.fields()[0].Value
	s.inner = innerTap(s.tap, f.Inner, func(p any) handler { return handlerOf(t, p) })
	s.proxy = c(ctx, t, f, s.tap.serve, s.inner.serveInner)
	s.tap.die = s.proxy.die
	down := s.proxy.open(s.client, s.serveUpstream)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		s.send(ctx, counting(down, r.Sent))
	}()
	s.wait(ctx, patience, down)
	s.tap.request.lift()
	s.tap.response.lift()
	s.settle(ctx, patience)
	report, err := s.proxy.close()
	if err != nil {
		t.Errorf("proxy: %v", err)
	}
	end, stop := context.WithTimeout(ctx, settleTime)
	defer stop()
	for _, p := range []*tap{s.tap, s.inner} {
		if err := p.close(end); err != nil {
			t.Error(err)
		}
	}
	cancel()
	<-sent
	s.answering.Wait()
	out := s.result(report)
	if !f.Undescribed {
		out.description = f.description()
	}
	return out
}

// send sends the request.
func (s *session) send(ctx context.Context, to link.Sender) {
	r := s.request
	all := together(r.Pace, r.Body)
	if !all {
		s.tap.request.lift()
	}
	end := ends(r.Body, r.Trailer, r.SeparateEnd, r.Abort) && !r.Endless
	to.Headers(r.fields(), end)
	if !end {
		if r.Header.Get("Expect") != "" {
			s.await(ctx, s.client.asked)
		}
		if r.Pace == Late {
			s.awaitHandled(ctx, 1)
		}
		if n := len(r.Body); r.Pace == Interleaved && n > 0 {
			for _, chunk := range r.Body[:n-1] {
				to.Data([]byte(chunk), false)
			}
			r.Body = r.Body[n-1:]
			s.await(ctx, s.client.begun)
		}
		if r.Pace == PingPong {
			r.Body = s.sendOneByOne(ctx, to, r.Body)
		}
		sendBody(to, r.Body, r.Trailer, r.SeparateEnd, r.Abort, r.Endless)
	}
	if all {
		to.Sync()
		s.tap.request.lift()
	}
}

// sendOneByOne sends all chunks but the last, which it returns, and waits for the echo of each.
func (s *session) sendOneByOne(ctx context.Context, to link.Sender, body []string) (last []string) {
	n := 0
	for ; len(body) > 1; body = body[1:] {
		to.Data([]byte(body[0]), false)
		n += len(body[0])
		s.client.await(ctx, n)
	}
	return body
}

// echoEach answers each chunk of the request with itself, as it comes.
func (s *session) echoEach(back link.Sender, upstream *recorder, r Response) {
	back.Headers(r.fields(), false)
	n := 0
	for _, chunk := range s.request.Body {
		n += len(chunk)
		upstream.await(s.ctx, n)
		back.Data([]byte(chunk), false)
	}
	sendBody(back, nil, r.Trailer, len(r.Trailer) == 0, false, false)
}

// await waits for what the client is to see, or for the end.
func (s *session) await(ctx context.Context, event <-chan struct{}) {
	select {
	case <-event:
	case <-s.client.ended:
	case <-ctx.Done():
	}
}

// awaitHandled waits until the proxy has taken in n answers.
func (s *session) awaitHandled(ctx context.Context, n uint64) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for s.proxy.handled() < n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-s.client.ended:
			return
		}
	}
}

// serveUpstream is the upstream: it takes the request, or another try of it, and answers.
func (s *session) serveUpstream(back link.Sender, h []link.Field) link.End {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, answer := newRecorder(s.events), s.request.Upstream
	if n := len(s.tries); n < len(s.request.Tries) {
		answer = s.request.Tries[n]
	}
	one.digest = s.request.Digest
	s.tries = append(s.tries, one)
	if len(s.tries) == 1 {
		close(s.asked)
	}
	back = counting(back, s.request.Answered)
	s.answering.Go(func() { s.respond(back, one, answer) })
	return one
}

// last is the upstream's end of the last try, nil if there is none.
func (s *session) last() *recorder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.tries) == 0 {
		return nil
	}
	return s.tries[len(s.tries)-1]
}

func (s *session) respond(back link.Sender, upstream *recorder, r Response) {
	if len(s.request.Tries) == 0 {
		defer s.tap.response.lift() // whatever else answers
	}
	if r.Hang {
		return
	}
	if s.request.Pace == PingPong {
		s.tap.response.lift()
		s.echoEach(back, upstream, r)
		return
	}
	if s.request.Endless && r.Early {
		back.Headers(r.fields(), false)
	}
	if !r.Early {
		select {
		case <-upstream.ended:
		case <-s.ctx.Done():
			return
		}
	}
	if m := upstream.message(); !r.Early && m.End == Reset {
		return
	}
	if s.request.Endless && r.Echo {
		upstream.await(s.ctx, size(s.request.Body))
	}
	if r.Echo {
		if body := upstream.message().Body; body != "" {
			r.Body = []string{body}
		}
	}
	all := together(r.Pace, r.Body)
	if !all {
		s.tap.response.lift()
	}
	for _, status := range r.Interim {
		back.Headers(Response{Status: status}.fields(), false)
	}
	if r.Status >= 0 {
		end := ends(r.Body, r.Trailer, r.SeparateEnd, r.Abort)
		handled := s.proxy.handled()
		if !s.request.Endless || !r.Early {
			back.Headers(r.fields(), end)
		}
		if !end && r.Pace == Late {
			s.awaitHandled(s.ctx, handled+1)
		}
		if r.Pace == Interleaved {
			s.sendHeldEnd(back, r)
		} else if !end {
			sendBody(back, r.Body, r.Trailer, r.SeparateEnd, r.Abort, false)
		}
	} else {
		back.Reset()
	}
	if all {
		back.Sync()
		s.tap.response.lift()
	}
}

// sendHeldEnd sends a response's body, and its end once the client has that.
func (s *session) sendHeldEnd(back link.Sender, r Response) {
	sendBody(back, r.Body, nil, false, false, true)
	s.client.await(s.ctx, size(r.Body))
	sendBody(back, nil, r.Trailer, true, r.Abort, false)
}

// wait returns when the client has its response, or gives up because nothing has happened for that long.
func (s *session) wait(ctx context.Context, patience time.Duration, down link.Sender) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for seen := s.events.Load(); ; {
		select {
		case <-s.client.ended:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		last := s.events.Load()
		if last == seen {
			down.Reset()
			return
		}
		seen = last
		timer.Reset(patience)
	}
}

// settle waits for the upstream's side to end, which follows from the client's.
func (s *session) settle(ctx context.Context, patience time.Duration) {
	upstream := s.last()
	if upstream == nil {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-upstream.ended:
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (s *session) result(report emulate.Report) *Result {
	out := &Result{
		Client: s.client.message(), Counters: report.Counters, Metadata: report.Metadata, Details: report.Details,
		Rerouted: report.Rerouted,
	}
	out.Stream, out.frames = s.tap.transcript()
	if s.inner != nil {
		out.Inner = &InnerResult{Counters: report.Inner}
		out.Inner.Stream, out.Inner.frames = s.inner.transcript()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.tries {
		if i == len(s.tries)-1 {
			out.Upstream = r.message()
		} else {
			out.Tries = append(out.Tries, r.message())
		}
	}
	return out
}

// emulated is the carrier that is an Emulator.
func emulated(ctx context.Context, t testing.TB, f Filter, serve, inner func(ss grpc.ServerStream) error) proxy {
	t.Helper()
	out := &emulation{ctx: ctx, filter: f, typed: map[string]*anypb.Any{}}
	var err error
	if out.facts, err = f.Connection.facts(); err != nil {
		t.Fatal(err)
	}
	for ns, value := range f.TypedMetadata {
		if out.typed[ns], err = anypb.New(value); err != nil {
			t.Fatal(err)
		}
	}
	out.connection = out.processor(t, serve, f.Unreachable && !f.Route.reachable())
	if f.Inner != nil {
		out.inner = out.processor(t, inner, false)
	}
	return out
}

// processor is a connection to a server of its own.
func (e *emulation) processor(t testing.TB, serve func(ss grpc.ServerStream) error, unreachable bool) *grpc.ClientConn {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	server := newServer(serve)
	if unreachable {
		_ = listener.Close()
	} else {
		serveLater(e.ctx, server, listener, e.filter.Cold)
	}
	connection, err := grpc.NewClient("passthrough:processor", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	e.servers, e.connections = append(e.servers, server), append(e.connections, connection)
	return connection
}

type emulation struct {
	ctx               context.Context
	filter            Filter
	connection, inner *grpc.ClientConn
	servers           []*grpc.Server
	connections       []*grpc.ClientConn
	emulator          *emulate.Emulator
	typed             map[string]*anypb.Any
	facts             map[string]any
}

// asked is the end that calls upstream when the request gets there.
type asked struct {
	emulation *emulation
	upstream  func(back link.Sender, h []link.Field) link.End
	end       link.End
}

func (a *asked) Headers(h []link.Field, end bool) {
	if a.end == nil {
		a.end = a.upstream(a.emulation.emulator.Upstream(), h)
	}
	a.end.Headers(h, end)
}
func (a *asked) Data(p []byte, end bool) { a.end.Data(p, end) }
func (a *asked) Trailers(h []link.Field) { a.end.Trailers(h) }
func (a *asked) Reset()                  { a.end.Reset() }

func (e *emulation) open(client link.End, upstream func(back link.Sender, h []link.Field) link.End) link.Sender {
	config := emulate.Config{
		Filter: e.filter.place(e.connection), BufferLimit: e.filter.bufferLimit(),
		Outside: emulate.Codec(e.filter.Outside), Inside: emulate.Codec(e.filter.Inside),
		Metadata: e.filter.Metadata, TypedMetadata: e.typed, ClusterMetadata: ClusterMetadata(), Facts: e.facts,
		HTTP1: e.filter.HTTP1, Retries: e.filter.Retries, Client: client,
		Upstream: func() link.End { return &asked{emulation: e, upstream: upstream} },
	}
	if i := e.filter.Inner; i != nil {
		config.Inner = new(i.Filter.place(e.inner))
	}
	var from link.Sender
	if e.filter.HTTP1 {
		config.Client, from = wireClient(client, func() link.Sender { return e.emulator.Downstream() })
		config.Upstream = func() link.End { return wireUpstream(upstream, e.emulator.Upstream()) }
	}
	e.emulator = emulate.Start(e.ctx, config)
	if from == nil {
		from = e.emulator.Downstream()
	}
	return from
}

// place is the filter as the emulator's chain has it.
func (f Filter) place(conn grpc.ClientConnInterface) emulate.Place {
	return emulate.Place{
		Filter: f.Config("processor"), Conn: conn,
		Route: f.Route.proto(), Again: f.Again.proto(), VirtualHost: f.VirtualHost.proto(),
	}
}

func (e *emulation) handled() uint64 { return e.emulator.Handled() }

func (e *emulation) die() { e.servers[0].Stop() }

func (e *emulation) close() (emulate.Report, error) {
	e.emulator.Stop()
	for i := range e.servers {
		_ = e.connections[i].Close()
		e.servers[i].Stop()
	}
	return e.emulator.Report(), nil
}
