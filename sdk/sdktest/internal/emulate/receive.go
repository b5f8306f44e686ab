package emulate

import (
	"fmt"
	"strings"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// received is what the filter does with a message of the processor.
func (e *Emulator) received(m *processingResponse) {
	if e.filter.GetObservabilityMode() || e.complete {
		return
	}
	if m.GetOverrideMessageTimeout() != nil {
		e.extend(m)
		return
	}
	standalone := m.GetResponse() == nil && m.GetModeOverride() != nil
	if standalone {
		if e.overrideAlone(m.GetModeOverride()) {
			return
		}
	} else {
		e.override(m.GetModeOverride())
	}
	last := e.lastBody(m)
	err := e.handle(m)
	switch {
	case err == nil:
		e.count("stream_msgs_received")
	case spurious(err):
		e.count("spurious_msgs_received")
		if !e.mayFailOpen() {
			e.fail(err.Error())
			break
		}
		e.count("failure_mode_allowed")
		e.giveUp()
	default:
		e.count("stream_msgs_received")
		e.fail(err.Error())
	}
	e.closeIfLast(m, last)
}

// handle applies an answer.
func (e *Emulator) handle(m *processingResponse) error {
	switch m.GetResponse().(type) {
	case nil, *extprocv3.ProcessingResponse_ImmediateResponse, *extprocv3.ProcessingResponse_StreamedImmediateResponse:
	default:
		e.receive(m)
	}
	switch r := m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		return e.request.headersAnswered(r.RequestHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		return e.response.headersAnswered(r.ResponseHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_RequestBody:
		return e.request.bodyAnswered(r.RequestBody.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseBody:
		return e.response.bodyAnswered(r.ResponseBody.GetResponse())
	case *extprocv3.ProcessingResponse_RequestTrailers:
		return e.request.trailersAnswered(r.RequestTrailers)
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		return e.response.trailersAnswered(r.ResponseTrailers)
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		if e.filter.GetDisableImmediateResponse() {
			return errDisabled
		}
		e.receive(m)
		e.complete = true
		e.request.answered(nothing)
		e.response.answered(nothing)
		e.finishStream()
		e.immediate(r.ImmediateResponse)
		return nil
	case *extprocv3.ProcessingResponse_StreamedImmediateResponse:
		return e.streamed(r.StreamedImmediateResponse)
	}
	return errUnhandled
}

// override puts a mode override in force, where it is allowed.
func (e *Emulator) override(o *extprocfilterv3.ProcessingMode) {
	f := e.filter
	configured := f.GetProcessingMode()
	if o == nil || !f.GetAllowModeOverride() || f.GetSendBodyWithoutWaitingForHeaderResponse() ||
		configured.GetRequestBodyMode() == modeDuplex || configured.GetResponseBodyMode() == modeDuplex ||
		e.request.await != headersAnswer && e.response.await != headersAnswer {
		return
	}
	effective := merged(o, configured)
	if list := f.GetAllowedOverrideModes(); len(list) > 0 && !listed(list, effective) {
		return
	}
	e.setMode(effective)
}

// overrideAlone takes a mode override that comes without an answer: only before the request's headers are
// answered, and only to read the request's body in full duplex.
func (e *Emulator) overrideAlone(o *extprocfilterv3.ProcessingMode) bool {
	f := e.filter
	configured := f.GetProcessingMode()
	if !f.GetAllowModeOverride() || f.GetSendBodyWithoutWaitingForHeaderResponse() ||
		configured.GetRequestBodyMode() == modeDuplex || configured.GetResponseBodyMode() == modeDuplex ||
		e.request.await != headersAnswer || o.GetRequestBodyMode() != modeDuplex ||
		e.request.mode != modeNone && e.request.mode != modeStreamed {
		return false
	}
	effective := merged(o, configured)
	if list := f.GetAllowedOverrideModes(); len(list) > 0 && !listed(list, effective) {
		return false
	}
	e.setMode(effective)
	d := &e.request
	d.stopTimer() // full duplex has none
	if d.noBody {
		return true
	}
	if d.buffered {
		p := d.buffer
		d.buffer, d.buffered, d.bodyReceived = nil, false, true
		e.send(d, d.bodyMessage(p, d.ended && !d.hasTrailers))
	}
	if d.hasTrailers && d.sendTrailers {
		d.sendOutTrailers()
	}
	return true
}

// merged reads an override: header and trailer modes that it doesn't set are the filter's (not the
// route's), body modes are meant as they stand.
func merged(o, configured *extprocfilterv3.ProcessingMode) *extprocfilterv3.ProcessingMode {
	out := &extprocfilterv3.ProcessingMode{}
	if configured != nil {
		out = proto.CloneOf(configured)
	}
	pick := func(to *extprocfilterv3.ProcessingMode_HeaderSendMode, v extprocfilterv3.ProcessingMode_HeaderSendMode) {
		if v != extprocfilterv3.ProcessingMode_DEFAULT {
			*to = v
		}
	}
	pick(&out.RequestHeaderMode, o.GetRequestHeaderMode())
	pick(&out.ResponseHeaderMode, o.GetResponseHeaderMode())
	pick(&out.RequestTrailerMode, o.GetRequestTrailerMode())
	pick(&out.ResponseTrailerMode, o.GetResponseTrailerMode())
	out.RequestBodyMode, out.ResponseBodyMode = o.GetRequestBodyMode(), o.GetResponseBodyMode()
	return out
}

// listed compares as Envoy does: all but the request header mode, to the letter.
func listed(list []*extprocfilterv3.ProcessingMode, m *extprocfilterv3.ProcessingMode) bool {
	for _, l := range list {
		if l.GetRequestBodyMode() == m.GetRequestBodyMode() && l.GetResponseBodyMode() == m.GetResponseBodyMode() &&
			l.GetRequestTrailerMode() == m.GetRequestTrailerMode() && l.GetResponseTrailerMode() == m.GetResponseTrailerMode() &&
			l.GetResponseHeaderMode() == m.GetResponseHeaderMode() {
			return true
		}
	}
	return false
}

// extend restarts the timer of the direction that waits, once per state. All else in the message is void.
func (e *Emulator) extend(m *processingResponse) {
	want := m.GetOverrideMessageTimeout().AsDuration()
	limit := e.filter.GetMaxMessageTimeout().AsDuration()
	if want.Milliseconds() < 1 || want > limit {
		e.count("override_message_timeout_ignored")
		return
	}
	done := false
	for _, d := range []*direction{&e.request, &e.response} {
		if d.timer != nil && !d.extended {
			d.stopTimer()
			d.arm(want)
			d.extended, done = true, true
		}
	}
	if done {
		e.count("override_message_timeout_received")
	} else {
		e.count("override_message_timeout_ignored")
	}
}

// timeout is a message that wasn't answered in time.
func (e *Emulator) timeout() {
	if e.complete || e.over {
		return
	}
	e.count("message_timeouts")
	if e.mayFailOpen() {
		e.count("failure_mode_allowed")
		e.giveUp()
		return
	}
	e.complete = true
	e.closeStream()
	e.request.answered(nothing)
	e.response.answered(nothing)
	e.reply(localReply{code: 504, details: "ext_proc_error_per-message_timeout_exceeded"})
}

// giveUp lets all pass from here on.
func (e *Emulator) giveUp() {
	e.complete = true
	e.closeStream()
	e.request.release()
	e.response.release()
}

// fail answers with status_on_error.
func (e *Emulator) fail(details string) {
	e.complete = true
	e.request.answered(nothing)
	e.response.answered(nothing)
	e.closeStream()
	e.reply(localReply{code: e.statusOnError(), details: strings.ReplaceAll(details, " ", "_")})
}

func (e *Emulator) statusOnError() int {
	if s := e.filter.GetStatusOnError(); s != nil {
		return int(s.GetCode())
	}
	return 500
}

// lostConnection is how grpc begins the message of a stream whose connection has ended.
const lostConnection = "error reading from server"

// What Envoy says of streams that end otherwise than by the processor's own status.
const (
	terminatedText = "upstream connect error or disconnect/reset before headers. reset reason: connection termination" +
		"{upstream_reset_before_response_started{connection_termination}}"
	terminatedLateText = "upstream_reset_after_response_started{connection_termination}"
)

// unreachableText is the message of a stream that can't be opened.
const unreachableText = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure" +
	"{upstream_reset_before_response_started{remote_connection_failure|immediate_connect_error: No such file or directory|remote_address:/nobody}}"

// closed is the end of the stream by the processor. An OK close is consent, whatever the failure mode.
func (e *Emulator) closed(err error, unreachable bool) {
	s := status.Convert(err)
	code, message := s.Code(), s.Message()+"{via_upstream}"
	switch {
	case unreachable:
		message = unreachableText
	case code == codes.Unavailable && strings.HasPrefix(s.Message(), lostConnection):
		if message = terminatedText; e.counters["stream_msgs_received"] > 0 {
			code, message = codes.Internal, terminatedLateText
		}
	}
	if s.Code() == codes.OK {
		if e.complete {
			return
		}
		e.count("streams_closed")
		e.giveUp()
		return
	}
	e.count("streams_failed")
	switch {
	case e.complete:
	case e.mayFailOpen():
		e.count("streams_closed")
		e.count("failure_mode_allowed")
		e.giveUp()
	default:
		e.fail(fmt.Sprintf("ext_proc_error_gRPC_error_%d{%s}", code, message))
	}
}

// lastBody must be known before the answer is applied.
func (e *Emulator) lastBody(m *processingResponse) bool {
	d, r := &e.request, m.GetRequestBody()
	if r == nil {
		d, r = &e.response, m.GetResponseBody()
	}
	if r == nil {
		return false
	}
	switch d.mode {
	case modeStreamed:
		return len(d.queue) > 0 && d.queue[0].end
	case modeDuplex:
		return r.GetResponse().GetBodyMutation().GetStreamedResponse().GetEndOfStream()
	}
	return false
}

// closeIfLast closes the stream when nothing more will be asked.
func (e *Emulator) closeIfLast(m *processingResponse, lastBody bool) {
	if e.stream == nil {
		return
	}
	ends := func(d *direction) bool { return d.noBody || d.mode == modeNone && !d.sendTrailers }
	last := false
	switch m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		last = ends(&e.request) && e.skipsResponse()
	case *extprocv3.ProcessingResponse_RequestBody:
		last = lastBody && e.skipsResponse()
	case *extprocv3.ProcessingResponse_RequestTrailers:
		last = e.skipsResponse()
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		last = ends(&e.response)
	case *extprocv3.ProcessingResponse_ResponseBody:
		last = lastBody
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		last = true
	}
	if last {
		e.finishStream()
	}
}
