package emulate

import (
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

const (
	modeNone     = extprocfilterv3.ProcessingMode_NONE
	modeStreamed = extprocfilterv3.ProcessingMode_STREAMED
	modeBuffered = extprocfilterv3.ProcessingMode_BUFFERED
	modePartial  = extprocfilterv3.ProcessingMode_BUFFERED_PARTIAL
	modeDuplex   = extprocfilterv3.ProcessingMode_FULL_DUPLEX_STREAMED
)

// headersIn is what the filter does when headers come.
func (d *direction) headersIn(end bool) {
	e := d.e
	e.merge()
	if d.sendHeaders && e.filter.GetObservabilityMode() {
		if !e.complete {
			e.send(d, d.headersMessage(end))
		}
		d.passHeaders(end)
		return
	}
	d.bodyComplete = d.bodyComplete || end
	stop := false
	if !e.complete && d.sendHeaders {
		d.editable, d.noBody = true, end
		message := d.headersMessage(end)
		d.start(headersAnswer)
		d.paused, stop = true, true
		e.send(d, message)
	}
	if !e.complete && d.stripsLength() {
		d.fields = remove(d.fields, "content-length")
	}
	if !d.request && e.skipsResponse() {
		e.finishStream()
	}
	if stop {
		d.stopped = true
		return
	}
	d.passHeaders(end)
}

// data is what the filter does when a part of the body comes.
func (d *direction) data(p []byte, end bool) {
	e := d.e
	d.bodyReceived = true
	if e.filter.GetObservabilityMode() {
		if d.mode == modeStreamed && !e.complete {
			e.send(d, d.bodyMessage(p, end))
		}
		d.pass(p, end)
		return
	}
	d.bodyComplete = d.bodyComplete || end
	switch {
	case d.replaced:
		d.proceed(nil, end)
		return
	case e.complete:
		d.proceed(p, end)
		return
	}
	ahead := d.mode == modeStreamed && e.filter.GetSendBodyWithoutWaitingForHeaderResponse() || d.duplex()
	if d.await == headersAnswer && !ahead {
		d.paused, d.stopped = true, true
		d.keep(p)
		if d.mode == modeBuffered {
			d.overLimit()
		}
		return
	}
	switch d.mode {
	case modeBuffered:
		d.dataBuffered(p, end)
	case modeStreamed, modeDuplex:
		d.dataStreamed(p, end)
	case modePartial:
		d.dataPartial(p, end)
	default:
		d.proceed(p, end)
	}
}

// proceed is the manager's reading of "continue" after data: on its way if nothing is kept, else all that
// is kept goes on with it.
func (d *direction) proceed(p []byte, end bool) {
	if !d.stopped {
		d.pass(p, end)
		return
	}
	d.keep(p)
	d.resume()
}

func (d *direction) dataBuffered(p []byte, end bool) {
	d.keep(p)
	d.paused, d.stopped = true, true
	if !d.overLimit() && end {
		d.sendBody(bufferedAnswer, d.buffer, true)
	}
}

func (d *direction) dataStreamed(p []byte, end bool) {
	message := d.bodyMessage(p, end)
	if !d.duplex() {
		d.queue = append(d.queue, chunk{p, end})
	}
	state := streamedAnswer
	if d.await == headersAnswer {
		state = headersAnswer
	}
	d.start(state)
	d.e.send(d, message)
	if end || d.await == headersAnswer {
		d.paused, d.stopped = true, true
		return
	}
	// "Continue" with nothing in hand: headers that were kept go on.
	d.proceed(nil, false)
}

func (d *direction) dataPartial(p []byte, end bool) {
	if d.partialDone {
		d.editable = false
		d.proceed(p, end)
		return
	}
	d.queue = append(d.queue, chunk{p, end})
	d.stopped = true
	if d.await == partialAnswer {
		d.paused = true
		return
	}
	if end || d.queued() > d.e.cfg.BufferLimit {
		d.sendPartial(end)
		d.paused = true
	}
}

func (d *direction) queued() (n int) {
	for _, c := range d.queue {
		n += len(c.data)
	}
	return n
}

// sendPartial sends what is queued as one chunk.
func (d *direction) sendPartial(end bool) {
	p, queuedEnd := d.takeQueue()
	d.queue = []chunk{{p, queuedEnd}}
	d.sendBody(partialAnswer, p, end)
}

// trailersIn is what the filter does when trailers come.
func (d *direction) trailersIn([]link.Field) {
	e := d.e
	d.hasTrailers = true
	if e.complete {
		d.proceedTrailers()
		return
	}
	if d.sendTrailers && e.filter.GetObservabilityMode() {
		e.send(d, d.trailersMessage())
		d.passTrailers()
		return
	}
	delivered := d.bodyComplete
	d.bodyComplete, d.trailersEditable = true, true
	if d.await != nothing && !d.duplex() {
		d.paused, d.stopped = true, true
		return
	}
	if !delivered && (d.mode == modeBuffered && d.buffered || d.mode == modePartial && len(d.queue) > 0) {
		if d.mode == modeBuffered {
			d.sendBody(bufferedAnswer, d.buffer, false)
		} else {
			d.sendPartial(false)
		}
		d.paused, d.stopped = true, true
		return
	}
	if !d.sendTrailers {
		d.proceedTrailers()
		return
	}
	d.sendOutTrailers()
	d.paused, d.stopped = true, true
}

func (d *direction) proceedTrailers() {
	if d.stopped {
		d.resume()
		return
	}
	d.passTrailers()
}

func (d *direction) sendBody(state awaiting, p []byte, end bool) {
	message := d.bodyMessage(p, end)
	d.start(state)
	d.e.send(d, message)
}

// sendOutTrailers sends the trailers to the processor, once.
func (d *direction) sendOutTrailers() {
	if d.trailersSent {
		return
	}
	d.trailersSent = true
	message := d.trailersMessage()
	state := d.await
	if state == nothing {
		state = trailersAnswer
	}
	d.start(state)
	d.e.send(d, message)
}
