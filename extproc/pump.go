package extproc

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// received is one message, or the error that ended the stream.
type received struct {
	text string
	err  error
}

// receive returns the next message, valid until the next call. ErrEnded is every end of the stream: that
// Envoy is content (Canceled), the client's going, and a timeout (EOF) look the same or are as good.
// wire.ErrMalformed leaves the stream usable.
func (s *stream) receive(ctx context.Context) (*message, error) {
	var r received
	if s.incoming == nil && (ctx == context.Context(&s.ctx) || ctx.Done() == s.ctx.Done()) {
		r.err = s.transport.RecvMsg(&s.in)
		r.text = s.in.Text
	} else {
		if s.incoming == nil {
			s.incoming = make(chan received)
			go s.feed()
		}
		select {
		case r = <-s.incoming:
		case <-ctx.Done():
			if s.ctx.Err() == nil {
				return nil, ctx.Err()
			}
			r.err = exchange.ErrEnded
		}
	}
	if r.err != nil {
		s.ended = true
		return nil, exchange.ErrEnded
	}
	if err := s.msg.parse(r.text); err != nil {
		return nil, err
	}
	s.msg.raw = r.text
	if s.msg.kind == noMessage {
		return nil, fmt.Errorf("%w: no phase", wire.ErrMalformed)
	}
	if s.msg.metadata != "" {
		s.contexts = s.msg.metadata
	}
	return &s.msg, nil
}

// feed receives for the rest of the stream: a receive that is under way can't be called off and then
// followed by a send, so a wait with a deadline of its own needs a goroutine. It ends with the handler,
// which ends the transport's context.
func (s *stream) feed() {
	for {
		var in wire.Message
		err := s.transport.RecvMsg(&in)
		select {
		case s.incoming <- received{in.Text, err}:
		case <-s.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// awaitResponse lets both directions flow until the response's headers are there.
func (s *stream) awaitResponse(ctx context.Context) error {
	for s.response == nil {
		m, err := s.receive(ctx)
		if err != nil {
			return err
		}
		if err := s.take(m); err != nil {
			return s.fail(err)
		}
	}
	return nil
}

// awaitEnd lets both directions flow until what the processor asked to see of them has passed.
func (s *stream) awaitEnd(ctx context.Context) error {
	response := &s.auto.sides[responseSide]
	passed := func() bool {
		return response.ended && len(response.owed) == 0 && (!response.mode.duplex() || response.closed) &&
			!s.flows[requestSide].flowing()
	}
	for !passed() {
		m, err := s.receive(ctx)
		if s.ended && !s.flows[requestSide].flowing() && !s.flows[responseSide].flowing() {
			return nil // there were no trailers, or nobody looked at the body
		}
		if err != nil {
			return err
		}
		if err := s.take(m); err != nil {
			return s.fail(err)
		}
	}
	return nil
}

// drain answers until the stream may be closed.
func (s *stream) drain() error {
	for !s.ended && !s.mayClose() {
		m, err := s.receive(&s.ctx)
		switch {
		case s.ended:
			return nil
		case err != nil:
			return err
		}
		if m.kind == responseHeaders {
			if s.auto.arrive(m) {
				s.pass(m)
			}
			continue
		}
		if err := s.take(m); err != nil {
			return err
		}
	}
	return nil
}

// mayClose reports whether an OK close loses nothing, of the bytes and of what the processor does to them.
func (s *stream) mayClose() bool {
	if !s.auto.mayClose() {
		return false
	}
	return s.auto.replied || !s.flows[requestSide].flowing() && !s.flows[responseSide].flowing()
}

// take handles a message.
func (s *stream) take(m *message) error {
	if !s.auto.arrive(m) {
		return s.dropped()
	}
	f := &s.flows[m.kind.side()]
	switch m.kind {
	case requestHeaders:
		return fmt.Errorf("%w: request headers again", wire.ErrMalformed)
	case responseHeaders:
		s.attributes.add(m.attributes)
		s.first[responseSide] = m.raw
		s.limit.Store(int64(s.server.sweeper.limit))
		f.bodiless = m.endOfStream || s.request != nil && s.request.Method() == http.MethodHead
		s.newResponse(m)
		return nil
	case requestTrailers:
		if s.request != nil {
			load(&s.request.Trailer, m.lines)
		}
	case responseTrailers:
		if s.response != nil {
			load(&s.response.Trailer, m.lines)
		}
	default:
		return f.take(m)
	}
	return f.takeTrailers()
}

// dropped: an answer to a chunk after the end would be one to nothing.
func (s *stream) dropped() error {
	s.outcome.Prevented++
	return nil
}

// load fills trailers, on which edits that were made before they came are made again.
func load(h *exchange.Header, lines []exchange.Field) {
	before := *h
	*h = exchange.NewHeader(lines...)
	for _, name := range before.Edited() {
		h.Set(name, before.Values(name)...)
	}
}

// pass answers the message that was received last so that it goes on unchanged.
func (s *stream) pass(m *message) {
	d := &s.auto.sides[m.kind.side()]
	if m.kind.isBody() && d.mode.duplex() {
		if !s.auto.mute && !s.auto.replied && len(d.owed) == 0 {
			s.echo(m)
		}
		return
	}
	if s.auto.owes(m.kind.side()) != m.kind {
		return
	}
	s.out = appendPass(s.out[:0], m.kind)
	s.answered(m.kind.side())
}

// answered sends s.out as the answer to the first message that is owed one.
func (s *stream) answered(side side) {
	k := s.auto.owes(side)
	s.send()
	s.auto.answered(side)
	s.settle(side)
	f := &s.flows[responseSide]
	buffers := s.auto.sides[responseSide].mode == modeBuffered || s.auto.sides[responseSide].mode == modeBufferedPartial
	// While Envoy buffers a body it holds the headers, and takes a reply.
	held := buffers && (f.riding || f.flowing())
	if k == responseHeaders && !held || k == responseBody || k == responseTrailers {
		s.started = true
	}
}

// echo sends a chunk on in pieces that Envoy likes, the end of the body with the last one.
func (s *stream) echo(m *message) {
	rest := m.body
	for len(rest) > maxChunk {
		s.out = appendEcho(s.out[:0], m, rest[:maxChunk], false)
		s.send()
		rest = rest[maxChunk:]
	}
	s.out = appendEcho(s.out[:0], m, rest, true)
	s.send()
	if m.endOfStream || m.endEmpty {
		s.auto.sides[m.kind.side()].closed = true
	}
}

// sendChunk sends a piece of a full-duplex body of the engine's own making.
func (s *stream) sendChunk(k kind, piece string, end bool) {
	if s.auto.mute || s.auto.replied {
		return
	}
	s.out = appendEcho(s.out[:0], &message{kind: k, endOfStream: end}, piece, end)
	s.send()
	if end {
		s.auto.sides[k.side()].closed = true
	}
}

// send sends s.out. A failure means that the stream has ended, which the next receive reports too.
func (s *stream) send() {
	if s.ended {
		return
	}
	s.answering.Out = s.out
	if s.transport.SendMsg(&s.answering) != nil {
		s.ended = true
	}
}
