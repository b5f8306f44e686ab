package extproc

import (
	"fmt"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// override is a ProcessingMode.
type override struct {
	responseHeaders                   bool
	requestBody, responseBody         bodyMode
	requestTrailers, responseTrailers bool
}

// appendOverride appends the mode_override of a ProcessingResponse. All six fields are written: Envoy
// takes absent header modes from the filter's configuration, which needn't be the route's, and an absent
// body mode as NONE.
func appendOverride(dst []byte, o override) []byte {
	send := func(yes bool) uint64 {
		if yes {
			return 1
		}
		return 2
	}
	dst, mark := wire.Open(dst, 9)
	dst = wire.AppendVarint(dst, 1, send(true))
	dst = wire.AppendVarint(dst, 2, send(o.responseHeaders))
	dst = wire.AppendVarint(dst, 3, uint64(o.requestBody))
	dst = wire.AppendVarint(dst, 4, uint64(o.responseBody))
	dst = wire.AppendVarint(dst, 5, send(o.requestTrailers))
	dst = wire.AppendVarint(dst, 6, send(o.responseTrailers))
	return wire.Close(dst, mark)
}

// plan chooses the modes for what the processor needs, or says that they can't be had. It is nil where
// no override is to be sent. next is false when the response is of no interest.
func (s *stream) plan(next bool) (*override, error) {
	request := &s.flows[requestSide]
	if s.auto.mute && (s.want&exchange.EditBody != 0 || request.transforms()) {
		return nil, unmet("observability mode lets nothing be edited")
	}
	if s.request.IsUpgrade() {
		if err := s.upgradable(request, next); err != nil {
			return nil, err
		}
	}
	if !s.overrides {
		return nil, s.met(request)
	}
	o := &override{responseHeaders: next}
	o.requestBody = s.auto.sides[requestSide].mode // full duplex if it is held, and stays so
	if !o.requestBody.duplex() {
		o.requestBody = choose(o.requestBody, request.observes(), request.transforms())
	}
	if next && s.request.Method() != http.MethodHead { // whose content-length Envoy would strip, for no body
		o.responseBody = choose(s.auto.sides[responseSide].mode, s.want&exchange.ObserveBody != 0, s.want&exchange.EditBody != 0)
	}
	o.requestTrailers = o.requestBody != modeNone
	o.responseTrailers = o.responseBody != modeNone || s.want&exchange.Trailers != 0
	return o, nil
}

// upgradable: what looks like the bodies of an upgrade are byte streams, of which Envoy loses what is under
// way in full duplex when one side closes, and waits for the end of the request's before it goes on where
// it buffers.
func (s *stream) upgradable(request *flow, next bool) error {
	modes := [...]bodyMode{s.auto.sides[requestSide].mode, s.auto.sides[responseSide].mode}
	buffers := modes[requestSide] == modeBuffered || modes[requestSide] == modeBufferedPartial
	switch {
	case s.want != 0, len(request.stages) > 0:
		return unmet("an upgrade has no bodies")
	case modes[requestSide].duplex(), modes[responseSide].duplex(), next && buffers && !s.overrides:
		return unmet("an upgrade can't pass this body mode")
	}
	return nil
}

// choose returns a mode that serves. BUFFERED is kept, never chosen: reached by an override, a body over
// Envoy's limit hangs.
func choose(configured bodyMode, observe, transform bool) bodyMode {
	switch {
	case transform && configured == modeBuffered, observe && configured == modeBuffered:
		return modeBuffered
	case transform:
		return modeFullDuplex
	case observe:
		return modeStreamed
	}
	return modeNone
}

// met checks needs against modes that can't be changed.
func (s *stream) met(request *flow) error {
	if mode := s.auto.sides[requestSide].mode; !request.bodiless && !request.riding { // what rides is whole
		if request.observes() && !observable(mode) || request.transforms() && !s.editable(mode) {
			return unmet("request body mode " + exchange.BodyMode(mode).String())
		}
	}
	mode := s.auto.sides[responseSide].mode
	switch {
	case s.want&exchange.ObserveBody != 0 && !observable(mode), s.want&exchange.EditBody != 0 && !s.editable(mode):
		return unmet("response body mode " + exchange.BodyMode(mode).String())
	case s.want&exchange.Trailers != 0 && mode != modeFullDuplex && !s.filter.Trailers:
		return unmet("response trailers")
	}
	return nil
}

// observable: of a BUFFERED_PARTIAL body nobody knows whether it is whole.
func observable(m bodyMode) bool {
	return m == modeStreamed || m == modeBuffered || m == modeFullDuplex
}

// editable: in STREAMED what a transform keeps until the end of the body is lost when trailers end it
// and aren't sent.
func (s *stream) editable(m bodyMode) bool {
	return m == modeBuffered || m == modeFullDuplex || m == modeStreamed && s.filter.Trailers
}

func unmet(what string) error { return fmt.Errorf("%w: %s", exchange.ErrNeeds, what) }

// bodyForbidden reports whether the response as edited can't have a body (RFC 9110 section 6.4.1).
func (s *stream) bodyForbidden() bool {
	status := s.response.Status()
	return s.request.Method() == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
}
