package extproc

import (
	"context"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// local serves a stream that begins with a response: an earlier filter answered, or the request was
// malformed. It is none of a Processor's that doesn't ask for it.
func (s *stream) local(m *message) error {
	p, ok := s.server.processor.(exchange.LocalReplyProcessor)
	if !ok || m.kind != responseHeaders {
		s.pass(m)
		if s.drain() != nil {
			return errReset
		}
		return nil
	}
	s.attributes.add(m.attributes)
	s.first[responseSide] = m.raw
	s.request = &s.own.request
	s.request.Init(exchange.Head{Size: -1}, s.attributes.conn(), exchange.Header{}, exchange.Body{}, (*initial)(s))
	s.flows[requestSide].released = true
	f := &s.flows[responseSide]
	f.bodiless = m.endOfStream
	s.newResponse(m)
	s.nexted, s.isLocal = true, true
	s.want = exchange.EditBody | exchange.Trailers
	return s.serve(func(ctx context.Context) error { return p.ProcessLocalReply(ctx, s.response) })
}

// planLocal chooses the modes for what became of a local reply: here they can still be changed when the
// functions over the body are known.
func (s *stream) planLocal(e *edits) error {
	f := &s.flows[responseSide]
	if s.auto.mute || f.riding || f.holding || !f.observes() {
		return nil
	}
	mode := f.direction().mode
	if s.overrides {
		body := choose(mode, true, f.transforms())
		e.override = &override{
			responseHeaders: true, requestBody: s.auto.sides[requestSide].mode, responseBody: body, responseTrailers: true,
		}
		return nil
	}
	if !observable(mode) || f.transforms() && !s.editable(mode) {
		return unmet("response body mode " + exchange.BodyMode(mode).String())
	}
	return nil
}
