package sdk

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// phases is how many an exchange has; a phase's index is its field number in ProcessingRequest less 2,
// and in ProcessingResponse less 1 (envoy.service.ext_proc.v3).
const phases = 6

var phaseNames = [phases]string{
	"request_headers", "response_headers", "request_body", "response_body", "request_trailers", "response_trailers",
}

// measure is a [grpc.StreamServerInterceptor] that takes the time which the proxy waits.
func (m *metrics) measure(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if m.extproc == nil || info.FullMethod != processMethod {
		return next(srv, s)
	}
	m.open.Inc()
	defer m.open.Dec()
	return next(srv, &measured{ServerStream: s, metrics: m})
}

const processMethod = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"

// measured is an ext_proc stream whose messages are timed. A body in full duplex has no answer to each of
// its messages: there the time is that from the oldest unanswered one to the next answer. Sending and
// receiving may happen in different goroutines.
type measured struct {
	grpc.ServerStream

	metrics *metrics
	since   [phases]atomic.Int64 // of the message that waits, on the clock of now
	latest  atomic.Int32         // the phase that came last
}

var start = time.Now()

// now is monotonic, and never 0.
func now() int64 { return int64(time.Since(start)) + 1 }

// RecvMsg implements [grpc.ServerStream].
func (s *measured) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	in, ok := m.(*wire.Message)
	if !ok || err != nil || in.Text == "" {
		return err
	}
	if i := fieldOf(in.Text[0]) - 2; i >= 0 && i < phases {
		s.latest.Store(int32(i))
		s.since[i].CompareAndSwap(0, now())
	}
	return nil
}

// SendMsg implements [grpc.ServerStream]. What the transport takes isn't the processor's time.
func (s *measured) SendMsg(m any) error {
	if out, ok := m.(*wire.Message); ok && len(out.Out) > 0 {
		s.answered(fieldOf(out.Out[0]))
	}
	return s.ServerStream.SendMsg(m)
}

func (s *measured) answered(field int) {
	i := field - 1
	switch {
	case field == immediateResponse, field == streamedImmediateResponse:
		i = int(s.latest.Load()) // a reply answers all that waits
	case i < 0, i >= phases:
		return // neither an override nor a longer timeout is an answer
	}
	if since := s.since[i].Swap(0); since != 0 {
		s.metrics.phases[i].Observe(time.Duration(now() - since).Seconds())
	}
}

// The replies' field numbers in ProcessingResponse.
const (
	immediateResponse         = 7
	streamedImmediateResponse = 11
)

// fieldOf reads the number of a message's first field from its first byte. The encoders of Envoy and of
// package extproc put the phase first; numbers above 15 take more bytes, and are none of a phase.
func fieldOf(tag byte) int { return int(tag&0x7f) >> 3 }
