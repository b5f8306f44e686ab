package extproc_test

import (
	"context"
	"io"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// registry takes the service instead of a grpc.Server.
type registry struct {
	desc *grpc.ServiceDesc
	impl any
}

func (r *registry) RegisterService(desc *grpc.ServiceDesc, impl any) { r.desc, r.impl = desc, impl }

// step is how far a direction of the emulated exchange has come: headers, body messages, end.
type step struct {
	chunks       []string
	trailers     bool
	first, mode  modev3.ProcessingMode_BodySendMode
	sendTrailers bool

	begun    bool     // headers were sent to the processor
	sent     int      // chunks
	ended    bool     // nothing more is sent to the processor
	owed     []string // kinds of messages that wait for an answer
	waiting  []string // the chunks among them
	out      string   // what went on
	closed   bool     // the processor ended a full-duplex body
	replaced bool     // with the headers
	trailed  bool     // the trailers were sent
	answered bool     // the headers
	paid     bool     // a body message
}

func (s *step) duplex() bool { return s.mode == modev3.ProcessingMode_FULL_DUPLEX_STREAMED }

func (s *step) buffers() bool {
	return s.mode == modev3.ProcessingMode_BUFFERED || s.mode == modev3.ProcessingMode_BUFFERED_PARTIAL
}

// emulator is Envoy's side of one stream.
type emulator struct {
	grpc.ServerStream
	t          *testing.T
	ctx        context.Context
	choices    []byte
	noWait     bool
	observe    bool
	override   bool
	mayExtend  bool
	localReply bool
	streaming  int // a reply
	steps      [2]step
	replied    bool
	first      bool
	over       bool // Envoy has nothing more to send
}

func (e *emulator) Context() context.Context    { return e.ctx }
func (e *emulator) SetHeader(metadata.MD) error { return nil }
func (e *emulator) choose(n int) int {
	if len(e.choices) == 0 {
		return 0
	}
	c := int(e.choices[0]) % n
	e.choices = e.choices[1:]
	return c
}

// may says whether direction d has something that Envoy would send now.
func (e *emulator) may(d int) bool {
	s, request := &e.steps[d], &e.steps[0]
	switch {
	case s.ended, e.localReply && d == 0:
		return false
	case d == 1 && !e.localReply && !e.observe && !request.answered:
		return false // upstream has not seen the request
	case d == 1 && !e.localReply && !e.observe && request.buffers() && len(request.chunks) > 0 && !request.paid && !request.replaced:
		return false
	case s.begun && !s.answered && !s.duplex() && !e.noWait && !e.observe:
		return false // bodies wait for the answer to the headers
	case s.buffers() && s.sent > 0 && len(s.owed) > 0:
		return false
	}
	return true
}

func (e *emulator) RecvMsg(m any) error {
	var open []int
	for d := range e.steps {
		if e.may(d) {
			open = append(open, d)
		}
	}
	if len(open) == 0 {
		for d := range e.steps {
			s := &e.steps[d]
			if !e.observe && (len(s.owed) > 0 || s.begun && s.duplex() && !s.closed && !s.replaced) {
				e.t.Errorf("waits for a message while it owes direction %d %v", d, s.owed)
			}
		}
		e.over = true
		return io.EOF
	}
	msg, err := proto.Marshal(e.message(open[e.choose(len(open))]))
	if err != nil {
		e.t.Fatal(err)
	}
	m.(*wire.Message).Text = string(msg)
	return nil
}

// message is the next one of direction d.
func (e *emulator) message(d int) *extprocv3.ProcessingRequest {
	s := &e.steps[d]
	r := &extprocv3.ProcessingRequest{ObservabilityMode: e.observe}
	if !e.first && !e.observe {
		r.ProtocolConfig = &extprocv3.ProtocolConfiguration{
			RequestBodyMode: e.steps[0].mode, ResponseBodyMode: e.steps[1].mode, SendBodyWithoutWaitingForHeaderResponse: e.noWait,
		}
	}
	e.first = true
	switch {
	case !s.begun:
		s.begun = true
		e.rest(s)
		e.setHeaders(r, d, len(s.chunks) == 0)
	case s.mode == modev3.ProcessingMode_NONE, s.sent == len(s.chunks):
		s.ended = true
		e.setTrailers(r, d)
	case s.buffers():
		s.sent = len(s.chunks)
		e.rest(s)
		e.setBody(r, d, strings.Join(s.chunks, ""), !s.trailers)
	default:
		s.sent++
		e.rest(s)
		e.setBody(r, d, s.chunks[s.sent-1], s.sent == len(s.chunks) && !s.trailers)
	}
	return r
}

// rest ends a direction of which nothing more will be sent to the processor.
func (e *emulator) rest(s *step) {
	if s.replaced || s.trailed {
		return
	}
	bodies := s.mode != modev3.ProcessingMode_NONE && s.sent < len(s.chunks)
	s.ended = s.begun && !bodies && (!s.trailers || !s.sendTrailers)
}

func (e *emulator) setHeaders(r *extprocv3.ProcessingRequest, d int, end bool) {
	line := func(k, v string) *corev3.HeaderValue { return &corev3.HeaderValue{Key: k, RawValue: []byte(v)} }
	h := &extprocv3.HttpHeaders{EndOfStream: end, Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{line(":status", "200")}}}
	e.steps[d].owed = append(e.steps[d].owed, "headers")
	if end {
		e.steps[d].closed = true
	}
	if d == 1 {
		r.Request = &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: h}
		return
	}
	h.Headers.Headers = []*corev3.HeaderValue{line(":method", "GET"), line(":path", "/")}
	r.Request = &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: h}
}

func (e *emulator) setBody(r *extprocv3.ProcessingRequest, d int, text string, end bool) {
	b := &extprocv3.HttpBody{Body: []byte(text), EndOfStream: end}
	s := &e.steps[d]
	if !s.duplex() {
		s.owed = append(s.owed, "body")
		s.waiting = append(s.waiting, text)
	}
	if d == 0 {
		r.Request = &extprocv3.ProcessingRequest_RequestBody{RequestBody: b}
	} else {
		r.Request = &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: b}
	}
}

func (e *emulator) setTrailers(r *extprocv3.ProcessingRequest, d int) {
	e.steps[d].owed = append(e.steps[d].owed, "trailers")
	e.steps[d].trailed = true
	if d == 0 {
		r.Request = &extprocv3.ProcessingRequest_RequestTrailers{RequestTrailers: &extprocv3.HttpTrailers{}}
	} else {
		r.Request = &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extprocv3.HttpTrailers{}}
	}
}

func (e *emulator) SendMsg(m any) error {
	out := new(extprocv3.ProcessingResponse)
	if err := proto.Unmarshal(m.(*wire.Message).Out, out); err != nil {
		e.t.Fatalf("malformed answer: %v", err)
	}
	if e.replied && e.streaming != streamBegun || e.observe {
		e.t.Errorf("spurious: %v", out)
	}
	switch r := out.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		e.headers(0, r.RequestHeaders.GetResponse())
		e.change(out.GetModeOverride())
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		e.headers(1, r.ResponseHeaders.GetResponse())
		e.changeLocal(out.GetModeOverride())
	case *extprocv3.ProcessingResponse_RequestBody:
		e.body(0, r.RequestBody.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseBody:
		e.body(1, r.ResponseBody.GetResponse())
	case *extprocv3.ProcessingResponse_RequestTrailers:
		e.pay(0, "trailers")
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		e.pay(1, "trailers")
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		e.replied = true
		if s := &e.steps[1]; s.answered && (!s.buffers() || len(s.chunks) == 0 || s.paid) {
			e.t.Error("reply after the response has started")
		}
	case *extprocv3.ProcessingResponse_StreamedImmediateResponse:
		e.stream(r.StreamedImmediateResponse)
	default:
		if out.GetOverrideMessageTimeout() != nil {
			e.extend(out)
			break
		}
		e.standalone(out.GetModeOverride())
	}
	switch out.GetResponse().(type) {
	case nil, *extprocv3.ProcessingResponse_RequestHeaders, *extprocv3.ProcessingResponse_ResponseHeaders:
	default:
		if out.GetModeOverride() != nil {
			e.t.Error("override in another answer")
		}
	}
	return nil
}

// change applies the override of a headers answer; Envoy ignores one that it doesn't allow.
func (e *emulator) change(o *modev3.ProcessingMode) {
	if o == nil {
		return
	}
	if !e.override || e.noWait || e.steps[0].first == modev3.ProcessingMode_FULL_DUPLEX_STREAMED || e.steps[1].duplex() {
		e.t.Error("an override that is ignored")
		return
	}
	for d, mode := range []modev3.ProcessingMode_BodySendMode{o.GetRequestBodyMode(), o.GetResponseBodyMode()} {
		if mode == modev3.ProcessingMode_BUFFERED && e.steps[d].first != mode {
			e.t.Error("override to BUFFERED")
		}
		e.steps[d].mode = mode
	}
	for _, mode := range []modev3.ProcessingMode_HeaderSendMode{o.GetRequestHeaderMode(), o.GetResponseHeaderMode(), o.GetRequestTrailerMode(), o.GetResponseTrailerMode()} {
		if mode == modev3.ProcessingMode_DEFAULT {
			e.t.Error("a mode is left out")
		}
	}
	e.steps[0].sendTrailers = o.GetRequestTrailerMode() == modev3.ProcessingMode_SEND
	e.steps[1].sendTrailers = o.GetResponseTrailerMode() == modev3.ProcessingMode_SEND
	e.rest(&e.steps[0])
	if o.GetResponseHeaderMode() == modev3.ProcessingMode_SKIP && o.GetResponseBodyMode() == modev3.ProcessingMode_NONE && !e.steps[1].sendTrailers {
		e.steps[1].ended = true
	}
}

// changeLocal applies the override of a local reply's headers answer. Others have none there: what is needed
// of a response is known before.
func (e *emulator) changeLocal(o *modev3.ProcessingMode) {
	if o == nil {
		return
	}
	s := &e.steps[1]
	if !e.localReply || !e.override || e.noWait || e.steps[0].duplex() || s.duplex() ||
		o.GetResponseBodyMode() == modev3.ProcessingMode_BUFFERED && s.first != modev3.ProcessingMode_BUFFERED {
		e.t.Errorf("override in a response's answer: %v", o)
	}
	s.mode, s.sendTrailers, s.ended = o.GetResponseBodyMode(), o.GetResponseTrailerMode() == modev3.ProcessingMode_SEND, false
	e.rest(s)
}

// standalone is an override without an answer, of which Envoy accepts one form.
func (e *emulator) standalone(o *modev3.ProcessingMode) {
	s := &e.steps[0]
	if o == nil || !e.override || e.noWait || !s.begun || s.answered || e.steps[1].first == modev3.ProcessingMode_FULL_DUPLEX_STREAMED ||
		o.GetRequestBodyMode() != modev3.ProcessingMode_FULL_DUPLEX_STREAMED || s.mode > modev3.ProcessingMode_STREAMED {
		e.t.Errorf("an answer to nothing is fatal: %v", o)
		return
	}
	s.mode, s.sendTrailers = o.GetRequestBodyMode(), true
	e.rest(s)
}

// A streamed reply's progress.
const (
	streamBegun = 1
	streamEnded = 2
)

// stream is a part of a streamed reply.
func (e *emulator) stream(r *extprocv3.StreamedImmediateResponse) {
	request := &e.steps[0]
	switch part := r.GetResponse().(type) {
	case *extprocv3.StreamedImmediateResponse_HeadersResponse:
		if e.streaming != 0 || request.answered || !request.begun {
			e.t.Error("a streamed reply out of place")
		}
		for d := range e.steps {
			if mode := e.steps[d].mode; mode != modev3.ProcessingMode_NONE && !e.steps[d].duplex() {
				e.t.Errorf("a streamed reply in mode %v", mode)
			}
		}
		if lines := part.HeadersResponse.GetHeaders().GetHeaders(); len(lines) == 0 || lines[0].GetKey() != ":status" {
			e.t.Error("a streamed reply without status")
		}
		e.streaming, e.replied = streamBegun, true
	case *extprocv3.StreamedImmediateResponse_BodyResponse:
		if e.streaming != streamBegun || len(part.BodyResponse.GetBody()) > 64<<10 {
			e.t.Error("a reply's body out of place")
		}
		if part.BodyResponse.GetEndOfStream() {
			e.streaming = streamEnded
		}
	case *extprocv3.StreamedImmediateResponse_TrailersResponse:
		if e.streaming != streamBegun {
			e.t.Error("a reply's trailers out of place")
		}
		e.streaming = streamEnded
	default:
		e.t.Error("a part of a reply that is nothing")
	}
}

// extend is a longer timeout, of which Envoy takes one for each answer that is owed.
func (e *emulator) extend(out *extprocv3.ProcessingResponse) {
	owed := 0
	for d := range e.steps {
		if !e.steps[d].duplex() {
			owed += len(e.steps[d].owed)
		}
	}
	if owed == 0 || !e.mayExtend || out.GetModeOverride() != nil {
		e.t.Errorf("a longer timeout for nothing: %v", out)
	}
}

// pay takes the oldest owed answer of direction d, which must be of that kind.
func (e *emulator) pay(d int, kind string) {
	s := &e.steps[d]
	if len(s.owed) == 0 || s.owed[0] != kind {
		e.t.Errorf("spurious answer to %s in direction %d: owed %v", kind, d, s.owed)
		return
	}
	s.owed = s.owed[1:]
	switch kind {
	case "headers":
		s.answered = true
	case "body":
		s.paid = true
	case "trailers":
		s.closed = true
	}
}

func (e *emulator) headers(d int, r *extprocv3.CommonResponse) {
	s := &e.steps[d]
	e.pay(d, "headers")
	if r.GetStatus() != extprocv3.CommonResponse_CONTINUE_AND_REPLACE {
		if r.GetBodyMutation() != nil {
			e.t.Error("a body without CONTINUE_AND_REPLACE")
		}
		return
	}
	if len(s.chunks) > 0 && (s.duplex() || e.noWait && s.mode != modev3.ProcessingMode_NONE) || r.GetBodyMutation() == nil {
		e.t.Error("CONTINUE_AND_REPLACE where a body exists")
	}
	s.out, s.replaced, s.ended = string(r.GetBodyMutation().GetBody()), true, true
}

func (e *emulator) body(d int, r *extprocv3.CommonResponse) {
	mutation := r.GetBodyMutation()
	s := &e.steps[d]
	if !s.duplex() {
		e.pay(d, "body")
		if r.GetHeaderMutation() != nil && !s.buffers() {
			e.t.Error("header mutation in a streamed body's answer")
		}
		switch m := mutation.GetMutation().(type) {
		case *extprocv3.BodyMutation_Body:
			s.out += string(m.Body)
		case *extprocv3.BodyMutation_ClearBody:
		case nil:
			if mutation != nil || len(s.waiting) == 0 {
				e.t.Error("unset mutation, or an answer to nothing")
				return
			}
			s.out += s.waiting[0]
		default:
			e.t.Errorf("%T in mode %v", m, s.mode)
		}
		s.waiting = s.waiting[min(1, len(s.waiting)):]
		return
	}
	chunk := mutation.GetStreamedResponse()
	if len(s.owed) > 0 && s.owed[0] == "headers" {
		e.t.Error("body before headers")
	}
	if s.closed || chunk == nil || len(chunk.GetBody()) > 64<<10 {
		e.t.Errorf("spurious chunk of %d bytes", len(chunk.GetBody()))
	}
	s.out += string(chunk.GetBody())
	if chunk.GetEndOfStream() {
		if !s.ended || s.trailers {
			e.t.Error("the end goes out before it came in, or before trailers")
		}
		s.closed = true
	}
}

// judge looks at how the stream was left, and what has become of the bodies.
func (e *emulator) judge(err error, act action) {
	request := &e.steps[0]
	if act.denies && !e.localReply && !e.observe && (!e.replied || request.out != "" || request.answered && !request.buffers()) {
		e.t.Errorf("a denied request has gone on: %q", request.out)
	}
	if e.streaming == streamBegun {
		if err == nil {
			e.t.Error("OK close within a streamed reply")
		}
		return
	}
	if e.replied || e.observe {
		if err != nil {
			e.t.Errorf("error close: %v", err)
		}
		return
	}
	if err != nil {
		if !e.steps[1].answered {
			e.t.Errorf("error close before the response has started: %v", err)
		}
		return
	}
	for d := range e.steps {
		s := &e.steps[d]
		if d == 0 && e.localReply {
			continue
		}
		if s.begun && !s.answered {
			e.t.Errorf("OK close while headers of direction %d are unanswered", d)
		}
		if s.duplex() && !s.replaced && (!s.ended && !e.over || s.begun && !s.closed) {
			e.t.Errorf("OK close while chunks of direction %d may be under way", d)
		}
		e.arrived(d, s, act)
	}
}

// arrived holds what has gone on against what should have.
func (e *emulator) arrived(d int, s *step, act action) {
	got, want := s.out, strings.Join(s.chunks, "")
	if !s.duplex() && !s.replaced { // Envoy goes on by itself with what it has not sent or got back
		got += strings.Join(s.waiting, "") + strings.Join(s.chunks[s.sent:], "")
	}
	edit := []func(string) string{act.request, act.response}[d]
	switch {
	case e.localReply && act.local == nil:
	case e.localReply:
		if len(s.chunks) > 0 && act.localBody != nil {
			want = act.localBody(want)
		}
	case len(s.chunks) == 0 && act.empty != nil:
		want = act.empty(d)
	case len(s.chunks) > 0 && edit != nil:
		want = edit(want)
	}
	if got != want {
		e.t.Errorf("direction %d: %d bytes %.40q have arrived, not the %d bytes %.40q", d, len(got), got, len(want), want)
	}
}
