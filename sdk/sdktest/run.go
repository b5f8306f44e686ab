package sdktest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

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
