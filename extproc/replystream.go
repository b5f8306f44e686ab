package extproc

import (
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// OpenReply implements [exchange.Host].
func (s *stream) OpenReply(r *exchange.Reply) (exchange.ReplyBody, error) {
	if err := s.beginOutside(); err != nil {
		return nil, err
	}
	defer s.leave()
	for i := range s.auto.sides {
		if mode := s.auto.sides[i].mode; mode != modeNone && mode != modeFullDuplex {
			return nil, unmet("a streamed reply in body mode " + exchange.BodyMode(mode).String())
		}
	}
	if s.auto.owes(requestSide) != requestHeaders && !s.auto.mute {
		return nil, unmet("a streamed reply after the request was released")
	}
	s.outcome.Reply, s.outcome.Status = r, r.Status()
	s.settle(requestSide) // Envoy waits for nothing any more
	s.settle(responseSide)
	s.limit.Store(0) // it takes the time that it takes
	if !s.auto.mute {
		out := appendReplyHeaders(s.out[:0], r, s.filter.MutateAll)
		if len(s.metadata) > 0 {
			var err error
			if out, err = appendMetadata(out, s.metadata); err != nil {
				return nil, err
			}
		}
		out = append(out, s.merged...)
		s.out = out
		s.send()
		s.replying = true
	}
	s.auto.replied = true
	return (*replyBody)(s), nil
}

// replyBody is the body of a reply that the stream sends.
type replyBody stream

// begin is that of a stream which has replied.
func (b *replyBody) begin() (*stream, error) {
	s := (*stream)(b)
	if err := s.enter(); err != nil {
		return nil, err
	}
	if s.ended {
		s.leave()
		return nil, exchange.ErrEnded
	}
	return s, nil
}

// Write implements [exchange.ReplyBody].
func (b *replyBody) Write(p []byte) (n int, err error) {
	s, err := b.begin()
	if err != nil {
		return 0, err
	}
	defer s.leave()
	for len(p) > 0 && s.replying {
		piece := p[:min(len(p), maxChunk)]
		s.out = appendReplyBody(s.out[:0], piece, false)
		s.send()
		if s.ended {
			return n, exchange.ErrEnded
		}
		n, p = n+len(piece), p[len(piece):]
	}
	return n + len(p), nil
}

// Close implements [exchange.ReplyBody].
func (b *replyBody) Close(trailer http.Header) error {
	s, err := b.begin()
	if err != nil {
		return err
	}
	defer s.leave()
	if !s.replying {
		return nil
	}
	s.replying = false
	if len(trailer) > 0 {
		s.out = appendReplyTrailers(s.out[:0], trailer, s.filter.MutateAll)
	} else {
		s.out = appendReplyBody(s.out[:0], nil, true)
	}
	s.send()
	return nil
}
