package emulate

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// stream is the gRPC stream to the processor. Sending may wait for the processor to receive, which is its
// back-pressure, so a goroutine does it.
type stream struct {
	e      *Emulator
	cancel context.CancelFunc
	outbox queue[*processingRequest]
	gone   bool // closed from this side
	unsent int  // bytes of bodies; the exchange's goroutine's

	mu     sync.Mutex
	client grpc.BidiStreamingClient[processingRequest, processingResponse]
}

// reached reports whether there is a connection to the processor.
func (s *stream) reached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return false
	}
	_, ok := peer.FromContext(s.client.Context())
	return ok
}

// rpc counts the goroutines of streams.
type rpc struct{ wg sync.WaitGroup }

func (r *rpc) wait() { r.wg.Wait() }

// send sends a message of direction d, and opens the stream if need be.
func (e *Emulator) send(d *direction, m *processingRequest) {
	if e.stream == nil {
		e.open()
	}
	e.count("stream_msgs_sent")
	e.stream.unsent += bodySize(m)
	e.stream.outbox.put(m)
	_ = d
}

func bodySize(m *processingRequest) int {
	return len(m.GetRequestBody().GetBody()) + len(m.GetResponseBody().GetBody())
}

func (e *Emulator) open() {
	pairs := metadata.MD{}
	grpcService := e.filter.GetGrpcService()
	if o := e.route.GetOverrides().GetGrpcService(); o != nil {
		grpcService = o
	}
	for _, h := range grpcService.GetInitialMetadata() {
		pairs.Append(h.GetKey(), h.GetValue())
	}
	for _, h := range e.route.GetOverrides().GetGrpcInitialMetadata() {
		pairs.Set(h.GetKey(), h.GetValue())
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(e.ctx, pairs))
	s := &stream{e: e, cancel: cancel}
	s.outbox.init()
	e.stream = s
	e.count("streams_started")
	e.rpc.wg.Go(func() { s.run(ctx) })
}

// run sends; another goroutine receives.
func (s *stream) run(ctx context.Context) {
	defer s.cancel()
	client, err := extprocv3.NewExternalProcessorClient(s.e.place.Conn).Process(ctx)
	if err != nil {
		s.e.inbox.put(func() { s.closed(err) })
		return
	}
	s.mu.Lock()
	s.client = client
	s.mu.Unlock()
	received := make(chan struct{})
	go func() {
		defer close(received)
		s.receive(client)
	}()
	stop := context.AfterFunc(ctx, s.outbox.close)
	defer stop()
	for {
		m, ok := s.outbox.take()
		if !ok {
			break
		}
		if client.Send(m) != nil {
			break // the receiver learns why
		}
		if n := bodySize(m); n > 0 {
			s.e.inbox.put(func() { s.unsent -= n })
		}
	}
	_ = client.CloseSend()
	time.AfterFunc(s.patience(), s.cancel)
	<-received
}

func (s *stream) receive(client grpc.BidiStreamingClient[processingRequest, processingResponse]) {
	for {
		m, err := client.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			s.e.inbox.put(func() { s.closed(err) })
			s.outbox.close()
			return
		}
		s.e.inbox.put(func() {
			if !s.gone && !s.e.over {
				s.e.received(m)
			}
		})
	}
}

func (s *stream) closed(err error) {
	if s.gone || s.e.over {
		return
	}
	s.gone = true
	if s.e.stream == s {
		s.e.stream = nil
	}
	s.e.closed(err, err != nil && !s.reached())
}

// closeStream half-closes the stream and forgets it.
func (e *Emulator) closeStream() {
	s := e.stream
	if s == nil || s.gone {
		return
	}
	e.stream, s.gone = nil, true
	e.count("streams_closed")
	s.outbox.close()
	if !s.opened() { // which may take as long as connecting does
		time.AfterFunc(openPatience, func() {
			if !s.opened() {
				s.cancel()
			}
		})
	}
}

// openPatience is how long the stream of an exchange that is over may go on trying to open.
const openPatience = time.Second

func (s *stream) opened() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client != nil
}

// finishStream closes the stream because nothing more is to be asked.
func (e *Emulator) finishStream() {
	e.complete = true
	e.closeStream()
}

// patience is how long the processor has after the half-close; then it is cut off.
func (s *stream) patience() time.Duration {
	if !s.e.filter.GetObservabilityMode() {
		return 20 * time.Millisecond
	}
	if t := s.e.filter.GetDeferredCloseTimeout(); t != nil {
		return t.AsDuration()
	}
	return 5 * time.Second
}
