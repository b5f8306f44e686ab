package emulate

import (
	"errors"
	"strconv"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// errSpurious are answers that nothing was asked for.
var (
	errSpurious  = errors.New("spurious message")
	errUnhandled = errors.New("unhandled message")
	errDisabled  = errors.New("unhandled immediate response due to config disabled it")
	errNotDuplex = errors.New("spurious message: streamed_response is received while body_mode_ is not FULL_DUPLEX_STREAMED")
	errDuplex    = errors.New("spurious message: Normal body mutation response is received while body_mode_ is FULL_DUPLEX_STREAMED")
	errMismatch  = errors.New("mismatch between content length and the length of the mutated body")
	errBodyFirst = errors.New("local response body received before headers")
	errBodyModes = errors.New("streaming local response body is only supported in NONE or FULL_DUPLEX_STREAMED modes")
)

func spurious(err error) bool {
	for _, s := range []error{errSpurious, errUnhandled, errDisabled, errNotDuplex, errDuplex, errBodyFirst, errBodyModes} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

// headersAnswered applies the answer to headers.
func (d *direction) headersAnswered(r *extprocv3.CommonResponse) error {
	if d.await != headersAnswer {
		return errSpurious
	}
	replace := r.GetStatus() == extprocv3.CommonResponse_CONTINUE_AND_REPLACE
	if m := r.GetHeaderMutation(); m != nil {
		if err := d.mutate(m, replace); err != nil {
			return err
		}
	}
	d.clearRoute(r)
	d.answered(d.afterHeaders(replace))
	if replace {
		d.replace(r.GetBodyMutation())
		return nil
	}
	if d.noBody {
		d.letGo()
		return nil
	}
	if d.bodyComplete && d.mode != modeNone {
		if d.wholeBody() {
			return nil
		}
	} else if d.bodyBegins() {
		return nil
	}
	if d.sendTrailers && d.hasTrailers {
		d.sendOutTrailers()
		return nil
	}
	d.letGo()
	return nil
}

// afterHeaders is what else is waited for once the headers are answered: bodies may be ahead of it.
func (d *direction) afterHeaders(replace bool) awaiting {
	switch {
	case replace:
	case d.mode == modeStreamed && d.e.filter.GetSendBodyWithoutWaitingForHeaderResponse() && len(d.queue) > 0:
		return streamedAnswer
	case d.duplex() && d.bodyReceived:
		return streamedAnswer
	case d.duplex() && d.hasTrailers:
		return trailersAnswer
	}
	return nothing
}

// letGo sends on headers that nobody will change any more.
func (d *direction) letGo() {
	d.editable = false
	d.resumeIfPaused()
}

// letHeadersGo sends on headers whose body will be sent on part by part, even if a filter before this one still
// has the end.
func (d *direction) letHeadersGo() {
	if d.bodyComplete || !d.ended {
		d.resumeIfPaused()
		return
	}
	if d.paused && !d.e.over && (!d.e.localReply || !d.request) {
		d.paused, d.stopped = false, false
		d.passHeaders(false)
	}
}

// wholeBody sends a body that has come before the headers were answered. It is false if there is nothing
// to send.
func (d *direction) wholeBody() bool {
	if d.await != nothing { // a body message is out
		d.sendKept(!d.hasTrailers)
		return true
	}
	if !d.buffered {
		return false
	}
	d.sendBody(bufferedAnswer, d.buffer, !d.hasTrailers)
	return true
}

// bodyBegins prepares for a body that is still coming. It is false if nobody wants it.
func (d *direction) bodyBegins() bool {
	switch d.mode {
	case modeBuffered:
	case modeStreamed:
		d.sendKept(false)
		d.letHeadersGo()
	case modeDuplex:
		d.letHeadersGo()
	case modePartial:
		if d.buffered && len(d.buffer) > 0 {
			d.queue = append(d.queue, chunk{d.buffer, false})
			d.buffer = nil
		}
		if d.queued() > d.e.cfg.BufferLimit {
			d.sendPartial(false)
		}
	default:
		return false
	}
	return true
}

// sendKept sends what the manager has kept as a chunk.
func (d *direction) sendKept(end bool) {
	if !d.buffered || len(d.buffer) == 0 {
		return
	}
	p := d.buffer
	d.buffer = nil
	message := d.bodyMessage(p, end)
	if !d.duplex() {
		d.queue = append(d.queue, chunk{p, end})
	}
	d.start(streamedAnswer)
	d.e.send(d, message)
}

// replace puts a body in place of the message's.
func (d *direction) replace(m *extprocv3.BodyMutation) {
	if m != nil {
		d.fields = remove(d.fields, "content-length")
		d.replaced = true
		d.buffer, d.buffered = mutateBody(m, d.buffer), true
	}
	d.queue = nil
	d.mode, d.sendTrailers = modeNone, false
	d.letGo()
}

// bodyAnswered applies the answer to a part of the body.
func (d *direction) bodyAnswered(r *extprocv3.CommonResponse) error {
	var on bool
	var err error
	switch d.await {
	case bufferedAnswer:
		on, err = true, d.bufferedAnswered(r)
	case streamedAnswer:
		on, err = d.streamedAnswered(r)
	case partialAnswer:
		on, err = true, d.partialAnswered(r)
	default:
		err = errSpurious
	}
	if err != nil {
		return err
	}
	d.clearRoute(r)
	d.editable = false
	if d.sendTrailers && d.hasTrailers && len(d.queue) == 0 {
		d.sendOutTrailers()
		return nil
	}
	if on || d.hasTrailers && len(d.queue) == 0 {
		d.resumeIfPaused()
	}
	return nil
}

func (d *direction) bufferedAnswered(r *extprocv3.CommonResponse) error {
	if m := r.GetHeaderMutation(); m != nil && d.editable {
		if err := d.mutate(m, r.GetStatus() == extprocv3.CommonResponse_CONTINUE_AND_REPLACE); err != nil {
			return err
		}
	}
	if m := r.GetBodyMutation(); m != nil {
		if d.editable {
			text, ok := link.Get(d.fields, "content-length")
			if length, err := strconv.Atoi(text); ok && err == nil && length != len(m.GetBody()) {
				return errMismatch
			}
		}
		d.buffer = mutateBody(m, d.buffer)
	}
	d.answered(nothing)
	return nil
}

func (d *direction) streamedAnswered(r *extprocv3.CommonResponse) (on bool, err error) {
	streamed := r.GetBodyMutation().GetStreamedResponse()
	switch {
	case streamed != nil && !d.duplex():
		return false, errNotDuplex
	case streamed == nil && d.duplex():
		return false, errDuplex
	case streamed != nil:
		d.inject(streamed.GetBody(), streamed.GetEndOfStream())
		if streamed.GetEndOfStream() {
			d.answered(nothing)
		} else {
			d.answered(streamedAnswer)
		}
		return streamed.GetEndOfStream(), nil
	case len(d.queue) == 0:
		return false, errSpurious
	}
	first := d.queue[0]
	d.queue = d.queue[1:]
	p := first.data
	if m := r.GetBodyMutation(); m != nil {
		p = mutateBody(m, p)
	}
	d.inject(p, first.end)
	if len(d.queue) == 0 {
		d.answered(nothing)
	} else {
		d.answered(streamedAnswer)
	}
	return first.end, nil
}

func (d *direction) partialAnswered(r *extprocv3.CommonResponse) error {
	if len(d.queue) == 0 {
		return errSpurious
	}
	first := d.queue[0]
	d.queue = d.queue[1:]
	if m := r.GetHeaderMutation(); m != nil && d.editable {
		if err := d.mutate(m, r.GetStatus() == extprocv3.CommonResponse_CONTINUE_AND_REPLACE); err != nil {
			return err
		}
	}
	p := first.data
	if m := r.GetBodyMutation(); m != nil {
		p = mutateBody(m, p)
	}
	if len(p) > 0 {
		d.inject(p, first.end)
	}
	d.answered(nothing)
	if len(d.queue) > 0 {
		rest, end := d.takeQueue()
		d.inject(rest, end)
	}
	d.partialDone = true
	return nil
}

// trailersAnswered applies the answer to trailers. In full duplex it may come while a chunk's is expected.
func (d *direction) trailersAnswered(r *extprocv3.TrailersResponse) error {
	if d.await != trailersAnswer && !d.duplex() {
		return errSpurious
	}
	if !d.hasTrailers {
		return nil // there are none to go on with
	}
	if m := r.GetHeaderMutation(); m != nil && d.trailersEditable {
		if err := d.mutateTrailers(m); err != nil {
			return err
		}
	}
	d.trailersEditable = false
	d.answered(nothing)
	d.resumeIfPaused()
	return nil
}

// clearRoute says whether the route is chosen again. Only the request's answers matter, and only such as
// change a header.
func (d *direction) clearRoute(r *extprocv3.CommonResponse) {
	if !d.request {
		return
	}
	e, wanted := d.e, r.GetClearRouteCache()
	if r.GetHeaderMutation() == nil {
		if wanted {
			e.count("clear_route_cache_ignored")
		}
		return
	}
	switch e.filter.GetRouteCacheAction().String() {
	case "CLEAR":
		e.routed = false
	case "RETAIN":
		if wanted {
			e.count("clear_route_cache_disabled")
		}
	default:
		e.routed = e.routed && (!wanted || e.filter.GetDisableClearRouteCache())
	}
}
