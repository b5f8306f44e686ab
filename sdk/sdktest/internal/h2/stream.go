package h2

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// Stream is one message's way to the peer. Its methods may be called from one goroutine at a time.
type Stream struct {
	conn *conn
	id   uint32
	end  link.End

	begun  bool // the peer's headers have come; of the reading goroutine
	window int64
	gone   bool
}

var _ link.Sender = (*Stream)(nil)

// Headers sends a header section.
func (s *Stream) Headers(h []link.Field, end bool) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.gone || c.dead {
		return
	}
	c.block.Reset()
	for _, f := range h {
		_ = c.encoder.WriteField(hpack.HeaderField{Name: f.Name, Value: f.Value})
	}
	p := c.block.Bytes()
	first := min(len(p), frameSize)
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: s.id, BlockFragment: p[:first], EndStream: end, EndHeaders: first == len(p),
	})
	for p = p[first:]; len(p) > 0; {
		n := min(len(p), frameSize)
		_ = c.framer.WriteContinuation(s.id, n == len(p), p[:n])
		p = p[n:]
	}
}

// Trailers sends the trailer section.
func (s *Stream) Trailers(h []link.Field) { s.Headers(h, true) }

// Data sends p, in as many frames as the peer's windows and the size of frames demand.
func (s *Stream) Data(p []byte, end bool) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		n := min(len(p), frameSize)
		for n > 0 && (s.window <= 0 || c.window <= 0) && !s.gone && !c.dead {
			c.change.Wait()
		}
		if s.gone || c.dead {
			return
		}
		if n > 0 {
			n = int(min(int64(n), s.window, c.window))
		}
		s.window -= int64(n)
		c.window -= int64(n)
		_ = c.framer.WriteData(s.id, end && n == len(p), p[:n])
		if p = p[n:]; len(p) == 0 {
			return
		}
	}
}

// Reset breaks the stream off.
func (s *Stream) Reset() {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.gone || c.dead {
		return
	}
	s.gone = true
	delete(c.streams, s.id)
	c.change.Broadcast()
	_ = c.framer.WriteRSTStream(s.id, http2.ErrCodeCancel)
}

// Sync waits for the answer to a PING: HTTP/2's frames are handled in order.
func (s *Stream) Sync() { s.conn.ping() }
