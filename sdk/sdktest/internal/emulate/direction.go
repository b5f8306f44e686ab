package emulate

import (
	"time"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// awaiting is what a direction waits for.
type awaiting uint8

const (
	nothing awaiting = iota
	headersAnswer
	bufferedAnswer
	streamedAnswer
	partialAnswer
	trailersAnswer
)

// chunk is a part of the body that is with the processor.
type chunk struct {
	data []byte
	end  bool
}

// direction is the request's or the response's way through the filter.
//
// In Envoy two things take part: the filter, which says stop, continue or inject, and the manager of the
// filter chain, which keeps what is stopped. Here forward, resume and inject are the manager's part.
type direction struct {
	*passage
	e       *Emulator
	request bool

	mode                      extprocfilterv3.ProcessingMode_BodySendMode
	sendHeaders, sendTrailers bool
	await                     awaiting
	editable                  bool // they can still be changed
	noBody                    bool
	bodyComplete              bool
	bodyReceived              bool
	replaced                  bool
	partialDone               bool
	trailersSent              bool // to the processor
	hasTrailers               bool // the filter has them
	trailersEditable          bool
	queue                     []chunk
	paused                    bool
	timer                     *time.Timer
	timerID                   int
	extended                  bool // by override_message_timeout, once per state
	attributesSent            bool

	// The manager's part.
	told        bool // that the message ends, with what it was given last
	bare        bool // it ended with the headers
	through     bool // the message is the filter's own
	stopped     bool // iteration
	headersOut  bool
	endOut      bool
	trailersOut bool
}

// full reports whether more waits than the buffers hold: with the manager, for the processors' answers, or
// for their receiving it.
func (s *shared) full(p *passage) bool {
	most := len(p.buffer)
	for _, e := range s.filters {
		if e.stream != nil {
			most = max(most, e.stream.unsent)
		}
		for _, d := range []*direction{&e.request, &e.response} {
			if d.passage == p && d.mode == modeStreamed {
				most = max(most, d.queued())
			}
		}
	}
	return most > s.cfg.BufferLimit && !s.over
}

// catchUp takes in what had to wait.
func (s *shared) catchUp(p *passage) {
	for len(p.backlog) > 0 && !s.full(p) {
		event := p.backlog[0]
		p.backlog = p.backlog[1:]
		event()
	}
}

func (d *direction) begin(e *Emulator, request bool) {
	d.e, d.request, d.passage = e, request, e.passage(request)
}

func (d *direction) duplex() bool {
	return d.mode == extprocfilterv3.ProcessingMode_FULL_DUPLEX_STREAMED
}

// next is where the direction leads.
func (d *direction) next() link.End { return d.e.next(d.e, d.request) }

// stripsLength reports whether content-length can't be kept, as the processor has no chance to correct it.
func (d *direction) stripsLength() bool {
	if d.e.filter.GetAllowContentLengthHeader() {
		return false
	}
	switch d.mode {
	case extprocfilterv3.ProcessingMode_STREAMED, extprocfilterv3.ProcessingMode_BUFFERED_PARTIAL,
		extprocfilterv3.ProcessingMode_FULL_DUPLEX_STREAMED:
		return true
	case extprocfilterv3.ProcessingMode_BUFFERED:
		return !d.sendHeaders
	}
	return false
}

// passHeaders sends the headers on, with or without the end.
func (d *direction) passHeaders(end bool) {
	if d.headersOut {
		return
	}
	d.headersOut, d.endOut = true, end
	d.next().Headers(d.fields, end)
}

// pass sends a part of the body on.
func (d *direction) pass(p []byte, end bool) {
	if d.endOut || d.e.over || len(p) == 0 && !end {
		return
	}
	d.endOut = end
	d.next().Data(p, end)
}

// resume is the manager's continueProcessing: all that was kept goes on.
func (d *direction) resume() {
	if d.e.over || d.endOut || d.e.localReply && d.request {
		return
	}
	d.stopped = false
	atEnd := d.ended
	hadTrailers := d.trailed
	d.passHeaders(d.bare && !d.buffered)
	if d.buffered {
		p := d.buffer
		d.buffer, d.buffered = nil, false
		d.pass(p, atEnd && !hadTrailers)
	}
	switch {
	case d.endOut || d.e.over:
	case hadTrailers:
		d.passTrailers()
	case atEnd:
		d.pass(nil, true)
	}
}

func (d *direction) passTrailers() {
	if d.trailersOut || d.endOut || d.e.over {
		return
	}
	d.trailersOut, d.endOut = true, true
	d.next().Trailers(d.trailers)
}

// inject sends p on past what is kept.
func (d *direction) inject(p []byte, end bool) {
	if d.e.over || d.e.localReply && d.request {
		return
	}
	if d.ended = end; len(p) == 0 {
		return // an end that has nothing with it goes on when the filter does
	}
	d.passHeaders(false)
	d.pass(p, end && !d.trailed) // which are the end then
}

// resumeIfPaused continues what the filter stopped.
func (d *direction) resumeIfPaused() {
	if d.paused {
		d.paused = false
		d.resume()
	}
}

func (d *direction) keep(p []byte) {
	d.buffered = true
	d.buffer = append(d.buffer, p...)
}

// overLimit reports whether more is kept than the manager may buffer; the answer is the local reply.
func (d *direction) overLimit() bool {
	if len(d.buffer) <= d.e.cfg.BufferLimit {
		return false
	}
	if d.request {
		d.e.tooLarge()
	} else {
		d.e.reply(localReply{code: 500, body: "Internal Server Error", details: "response_payload_too_large"})
	}
	return true
}

// start begins to wait for an answer.
func (d *direction) start(state awaiting) {
	d.await = state
	d.stopTimer()
	if d.duplex() { // whose messages have no timer
		return
	}
	d.arm(d.e.messageTimeout())
}

func (d *direction) arm(after time.Duration) {
	d.timerID++
	id := d.timerID
	d.timer = time.AfterFunc(after, func() {
		d.e.inbox.put(func() {
			if d.timer != nil && d.timerID == id {
				d.e.timeout()
			}
		})
	})
}

func (d *direction) stopTimer() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// answered ends the wait, or begins another.
func (d *direction) answered(then awaiting) {
	d.stopTimer()
	d.await = then
	d.extended = false
}

// release is what happens when the processor is given up: all that it had goes on as it was.
func (d *direction) release() {
	d.answered(nothing)
	if len(d.queue) > 0 {
		p, end := d.takeQueue()
		if len(p) > 0 {
			d.inject(p, end)
		}
	}
	d.resumeIfPaused()
}

func (d *direction) takeQueue() (p []byte, end bool) {
	for _, c := range d.queue {
		p, end = append(p, c.data...), c.end
	}
	d.queue = nil
	return p, end
}
