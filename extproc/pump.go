package extproc

import (
	"context"
	"fmt"

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
	if s.incoming == nil && ctx.Done() == s.ctx.Done() {
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
	for {
		m, err := s.receive(ctx)
		if err != nil {
			return err
		}
		if !s.auto.arrive(m) {
			continue
		}
		if m.kind == responseHeaders {
			s.attributes.add(m.attributes)
			s.response = newResponse(m)
			return nil
		}
		s.pass(m)
	}
}

// drain answers neutrally until the stream may be closed.
func (s *stream) drain() error {
	for !s.ended && !s.auto.mayClose() {
		m, err := s.receive(s.ctx)
		if err != nil {
			if s.ended {
				break
			}
			return errReset
		}
		if s.auto.arrive(m) {
			s.pass(m)
		}
	}
	return nil
}

// pass answers the message that was received last so that it goes on unchanged.
func (s *stream) pass(m *message) {
	k := s.auto.owes(m.kind.side())
	if k != m.kind {
		return
	}
	if k.isBody() && s.auto.sides[k.side()].mode.duplex() {
		s.echo(m)
	} else {
		s.out = appendPass(s.out[:0], k)
		s.send()
	}
	s.auto.answered(k.side())
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
