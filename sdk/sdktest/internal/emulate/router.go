package emulate

import "github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"

// router is what Envoy's router keeps of a request that it may have to try again. Of the body it keeps
// nothing itself: it puts what it has sent into the chain's one buffer. A filter that goes on finds it there,
// and sends it on once more.
type router struct {
	upstream     link.End
	try          int
	left         int  // tries
	keeps        bool // the body
	headersSent  []link.Field
	trailersSent []link.Field
}

// ask begins the request.
func (s *shared) ask(h []link.Field, end bool) {
	s.headersSent = h
	s.upstream = s.cfg.Upstream()
	s.upstream.Headers(h, end)
}

// keepForRetry keeps what was sent, as long as it fits the buffer; else there is no other try.
func (s *shared) keepForRetry(p []byte) {
	if !s.keeps {
		return
	}
	if len(s.up.buffer)+len(p) > s.cfg.BufferLimit {
		s.keeps, s.left = false, 0
		return
	}
	s.up.buffered = true
	s.up.buffer = append(s.up.buffer, p...)
}

// tryAgain sends the request as far as it has got to another upstream, if it may. over says that the one
// before has ended.
func (s *shared) tryAgain(over bool) bool {
	if s.left == 0 || s.over {
		return false
	}
	s.left--
	s.try++
	if !over || !s.up.out {
		s.upstream.Reset()
	}
	whole := s.up.out && s.trailersSent == nil
	s.ask(s.headersSent, whole && !s.up.buffered)
	if s.up.buffered {
		s.upstream.Data(append([]byte{}, s.up.buffer...), whole)
	}
	if s.trailersSent != nil {
		s.upstream.Trailers(s.trailersSent)
	}
	return true
}
