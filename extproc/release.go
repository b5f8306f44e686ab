package extproc

import (
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

func (s *stream) releaseRequest(next bool) error {
	f := &s.flows[requestSide]
	if f.released {
		return f.unmet
	}
	if f.unmet != nil {
		return f.unmet
	}
	e := edits{header: &s.request.Header}
	if edited, reroute := s.request.PathEdit(); edited {
		e.path, e.reroute = s.request.Path(), reroute
		if e.path == "" {
			return fmt.Errorf("%w: empty path", exchange.ErrBadEdit)
		}
	}
	var err error
	if f.riding {
		err = s.met(f) // the time for overrides has passed
	} else {
		e.override, err = s.plan(next)
	}
	if err != nil {
		return s.fail(err)
	}
	return f.release(&e)
}

func (s *stream) releaseResponse() error {
	f := &s.flows[responseSide]
	if s.response == nil || f.released {
		return f.unmet
	}
	if f.unmet != nil {
		return f.unmet
	}
	e := edits{header: &s.response.Header}
	if s.response.StatusEdited() {
		e.status = s.response.Status()
	}
	if s.isLocal {
		if err := s.planLocal(&e); err != nil {
			return s.fail(err)
		}
	}
	return f.release(&e)
}

// release answers what the direction is held by, with e, and sends on what was held.
func (f *flow) release(e *edits) error {
	s := f.stream
	f.sized = e.header.Has("content-length")
	var err error
	switch {
	case f.riding:
		err = f.releaseBody(e)
	case s.auto.owes(f.side) == f.headers():
		err = f.releaseHeaders(e)
	}
	if err == nil {
		f.released = true
	}
	return err
}

// releaseBody answers the message that the whole body came in.
func (f *flow) releaseBody(e *edits) error {
	if f.stream.auto.owes(f.side) != f.body() {
		return unmet("no body came for the headers' edits to go with")
	}
	f.holding = false
	return f.answerBody(f.level, string(f.held), true, e)
}

func (f *flow) releaseHeaders(e *edits) error {
	s, d := f.stream, f.direction()
	replaces := f.replaces()
	switch {
	case replaces && f.side == responseSide && s.bodyForbidden():
		return fmt.Errorf("%w: this response can't have a body", exchange.ErrBadEdit)
	case replaces:
		out, err := f.through(f.level, string(f.held), true)
		if err != nil {
			return s.fail(err)
		}
		// An empty replacement of no body would make Envoy drop the first chunk of another.
		e.replace = !f.bodiless || len(out) > 0
		e.body, e.instead = out, e.replace
		f.bodiless, d.ended, f.holding = true, true, false
	}
	if (e.replace || f.transforms()) && f.sized {
		e.header.Del("content-length")
	}
	if err := s.answer(f.headers(), e); err != nil {
		return err
	}
	if o := e.override; o != nil {
		f.prompts = o.requestBody.duplex() && !s.auto.sides[requestSide].mode.duplex()
		s.auto.sides[requestSide].mode, s.auto.sides[responseSide].mode = o.requestBody, o.responseBody
		s.relax(f.side)
	}
	if !f.holding {
		return nil
	}
	f.holding = false
	if f.bodiless {
		return nil
	}
	if err := f.forward(f.level, string(f.held), f.heldEnd); err != nil {
		return s.fail(err)
	}
	f.held = nil
	if s.auto.owes(f.side) == f.trailer() {
		return f.answerTrailers()
	}
	return nil
}
