package extproc

import (
	"context"
	"errors"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

var _ exchange.BodyHost = (*flow)(nil)

// Hold implements [exchange.BodyHost].
func (f *flow) Hold(n int) (held []byte, end bool, err error) {
	s := f.stream
	if err := s.beginOutside(); err != nil {
		return nil, false, err
	}
	defer s.leave()
	if err := f.hold(n); err != nil {
		if errors.Is(err, exchange.ErrNeeds) {
			f.unmet = err
		}
		return nil, false, err
	}
	return f.held, f.heldEnd, nil
}

func (f *flow) hold(n int) error {
	s := f.stream
	switch {
	case f.unmet != nil:
		return f.unmet
	case f.released:
		return exchange.ErrResponseStarted
	}
	if !f.holding {
		if err := f.startHold(); err != nil {
			return err
		}
	}
	if err := f.advance(); err != nil {
		return s.fail(err)
	}
	var ctx context.Context = &s.ctx
	if f.side == responseSide && s.reading != nil {
		ctx = s.reading
	}
	for len(f.held) < n && !f.heldEnd {
		m, err := s.receive(ctx)
		if err != nil {
			return err
		}
		if err := s.take(m); err != nil {
			return s.fail(err)
		}
		if f.side == requestSide && s.response != nil {
			return exchange.ErrResponseStarted // Envoy answers the request by itself
		}
	}
	return nil
}

// startHold makes Envoy send the body while it holds the message back.
func (f *flow) startHold() error {
	s, d := f.stream, f.direction()
	switch {
	case f.side == responseSide && s.want&exchange.EditBody == 0:
		return unmet("Next was not told")
	case f.bodiless:
		f.heldEnd = true
	case s.auto.mute, s.request.IsUpgrade(), d.mode == modeGRPC:
		return unmet("this body can't be held")
	case d.mode == modeFullDuplex:
	case d.mode == modeBuffered, d.mode == modeBufferedPartial:
		// Envoy buffers only once the headers are answered.
		f.riding = true
		if err := s.answer(f.headers(), &edits{header: new(exchange.Header)}); err != nil {
			return err
		}
	case f.side == requestSide && s.overrides:
		// The only form of a standalone override that Envoy accepts.
		s.out = appendOverride(s.out[:0], override{
			responseHeaders: true, requestBody: modeFullDuplex, responseBody: s.auto.sides[responseSide].mode, requestTrailers: true,
		})
		s.send()
		d.mode = modeFullDuplex
		s.relax(f.side)
	default:
		return unmet(exchange.BodyMode(d.mode).String() + " can't be held")
	}
	f.holding = true
	return nil
}

// advance runs what is held through the stages that have been added since.
func (f *flow) advance() error {
	if f.level == len(f.stages) {
		return nil
	}
	from, held := f.level, string(f.held)
	f.level, f.held = len(f.stages), nil
	return f.push(from, f.level, held, f.heldEnd, func(out string) error {
		f.held = append(f.held, out...)
		return nil
	})
}
