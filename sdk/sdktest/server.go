package sdktest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/extproc/record"
)

// A Script is a processor at the level of the protocol: it gets the messages of a stream and sends whatever
// it likes. Its error ends the stream. For tests of what a proxy makes of answers; whoever writes a
// processor writes an [exchange.Processor].
type Script func(stream grpc.BidiStreamingServer[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]) error

// handler is a processor's side of one stream.
type handler func(ss grpc.ServerStream) error

// handlerOf finds the handler of a processor: an exchange.Processor, a generated server, a Script, or an
// *extproc.Server.
func handlerOf(t testing.TB, processor any) handler {
	t.Helper()
	switch p := processor.(type) {
	case exchange.Processor:
		return registered(extproc.NewServer(p, extproc.WithLogger(slog.New(slog.DiscardHandler))))
	case *extproc.Server:
		return registered(p)
	case extprocv3.ExternalProcessorServer:
		return generated(p.Process)
	case Script:
		return generated(p)
	}
	t.Fatalf("%T is no processor", processor)
	return nil
}

func generated(p func(grpc.BidiStreamingServer[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]) error) handler {
	return func(ss grpc.ServerStream) error {
		return p(&grpc.GenericServerStream[extprocv3.ProcessingRequest, extprocv3.ProcessingResponse]{ServerStream: ss})
	}
}

// registry takes a service in place of a grpc.Server.
type registry struct {
	desc *grpc.ServiceDesc
	impl any
}

func (r *registry) RegisterService(desc *grpc.ServiceDesc, impl any) { r.desc, r.impl = desc, impl }

func registered(s *extproc.Server) handler {
	var r registry
	s.Register(&r)
	return func(ss grpc.ServerStream) error { return r.desc.Streams[0].Handler(r.impl, ss) }
}

// newServer makes a server of streams, which go to handle. Its windows have a size of their own, as grpc's
// grow with what passes: so it doesn't depend on the exchanges before how much a processor that takes nothing
// in has on its way.
func newServer(handle func(ss grpc.ServerStream) error) *grpc.Server {
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(16<<20))
	server.RegisterService(service(handle), nil)
	return server
}

// serveLater accepts connections of l when that time has passed, if the exchange isn't over by then.
func serveLater(ctx context.Context, server *grpc.Server, l net.Listener, cold time.Duration) {
	go func() {
		timer := time.NewTimer(cold)
		defer timer.Stop()
		select {
		case <-timer.C:
			_ = server.Serve(l)
		case <-ctx.Done():
			_ = l.Close()
		}
	}()
}

// service is the ext_proc service whose streams go to handle.
func service(handle func(ss grpc.ServerStream) error) *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: extprocv3.ExternalProcessor_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "Process", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, ss grpc.ServerStream) error { return handle(ss) },
		}},
	}
}

// gate is closed once a whole message is in the proxy.
type gate struct {
	once sync.Once
	open chan struct{}
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

func (g *gate) lift() { g.once.Do(func() { close(g.open) }) }

// tap stands between the processor and the wire: it holds answers until the gates are open, and writes down
// what passes.
type tap struct {
	handle            handler
	request, response *gate
	endless           bool            // the body follows the response's headers
	asked             <-chan struct{} // the upstream; a response that comes before is the proxy's own
	maxMessage        int
	dies              int    // after so many messages
	digest            bool   // of what passes nothing is written down
	die               func() // ends the server
	events            *atomic.Int64

	mu      sync.Mutex
	stream  []string
	frames  []frame
	started int
	running sync.WaitGroup
	closed  bool
}

// serve runs one stream.
func (p *tap) serve(ss grpc.ServerStream) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return status.Error(codes.Unavailable, "the exchange is over")
	}
	p.running.Add(1)
	p.started++
	p.mu.Unlock()
	defer p.running.Done()
	stream := &tapped{ServerStream: ss, tap: p}
	err := p.handle(stream)
	_ = stream.hold() // an end is an answer too
	p.note(frame{closed: true, code: status.Code(err)})
	return err
}

// close lets no more streams begin and waits for those that run, or for ctx.
func (p *tap) close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		p.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the processor's stream goes on after the exchange: %w", ctx.Err())
	}
}

func (p *tap) note(f frame) {
	p.events.Add(1)
	if p.digest {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frames = append(p.frames, f)
	if line := f.String(); line != "" {
		p.stream = append(p.stream, line)
	}
}

func (p *tap) transcript() ([]string, []frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.stream), slices.Clone(p.frames)
}

// tapped is a stream as its handler sees it.
type tapped struct {
	grpc.ServerStream
	tap      *tap
	response bool // a message of the response has come
	received int
}

func (s *tapped) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	request, err := record.Received(m)
	if err != nil {
		return err
	}
	if limit := s.tap.maxMessage; limit > 0 && proto.Size(request) > limit {
		return status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", proto.Size(request), limit)
	}
	s.response = s.response || isResponse(request) && (!s.tap.endless || request.GetResponseBody() != nil)
	s.tap.note(frame{request: request})
	if s.received++; s.received == s.tap.dies {
		_ = s.hold()
		go s.tap.die()
		<-s.Context().Done()
		return status.FromContextError(s.Context().Err()).Err()
	}
	return nil
}

func (s *tapped) SendMsg(m any) error {
	if err := s.hold(); err != nil {
		return err
	}
	response, err := record.Sent(m)
	if err != nil {
		return err
	}
	s.tap.note(frame{response: response})
	return s.ServerStream.SendMsg(m)
}

func (p *tap) upstreamAsked() bool {
	select {
	case <-p.asked:
		return true
	default:
		return false
	}
}

// hold waits until what was sent of the message that is to be answered is in the proxy.
func (s *tapped) hold() error {
	for _, g := range []*gate{s.tap.request, s.tap.response} {
		if g == s.tap.response && (!s.response || !s.tap.upstreamAsked()) {
			continue
		}
		select {
		case <-g.open:
		case <-s.Context().Done():
			return status.FromContextError(s.Context().Err()).Err()
		}
	}
	return nil
}
