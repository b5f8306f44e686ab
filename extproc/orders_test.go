package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// FuzzMessageOrders plays Envoy's side of streams whose order of messages, modes and processors follow
// from the input, and holds every answer against Envoy's rules.
func FuzzMessageOrders(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{5, 5, 3, 2, 1, 0, 4, 4, 4, 1, 2, 3})
	f.Fuzz(func(t *testing.T, choices []byte) { play(t, choices) })
}

func TestAnswersAreLegalInEveryOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	rounds := 20_000
	if testing.Short() {
		rounds = 4_000
	}
	for range rounds {
		choices := make([]byte, random.IntN(70))
		for i := range choices {
			choices[i] = byte(random.Uint32())
		}
		play(t, choices)
		if t.Failed() {
			t.Fatalf("choices %v", choices)
		}
	}
}

// play runs one stream and judges its end.
func play(t *testing.T, choices []byte) {
	t.Helper()
	e := &emulator{t: t, choices: choices}
	e.noWait = e.choose(4) == 0
	e.observe = e.choose(16) == 0
	e.override = e.choose(2) == 0
	e.localReply = e.choose(16) == 0
	described := "v=1; untyped=ns"
	if e.override {
		described += "; override"
	}
	sendTrailers := e.choose(2) == 0
	if sendTrailers {
		described += "; trailers"
	}
	for d := range e.steps {
		s := &e.steps[d]
		s.mode = modev3.ProcessingMode_BodySendMode(e.choose(5))
		s.sendTrailers = sendTrailers || s.mode == modev3.ProcessingMode_FULL_DUPLEX_STREAMED
		for i := range e.choose(5) {
			s.chunks = append(s.chunks, fmt.Sprintf("<%d.%d>%s", d, i, strings.Repeat("x", e.choose(3)*40_000)))
		}
		s.trailers = len(s.chunks) > 0 && e.choose(2) == 0
		s.first = s.mode
	}
	e.ctx = metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-gatehouse-extproc", described))
	acts := actions()
	act := acts[e.choose(len(acts))]
	registrar := new(registry)
	extproc.NewServer(exchange.ProcessorFunc(act.run), quiet, extproc.WithDeadline(0)).Register(registrar)
	err := registrar.desc.Streams[0].Handler(registrar.impl, e)
	e.judge(err, act)
	if t.Failed() {
		t.Logf("%s: override %v, no wait %v, local reply %v, observe %v, replied %v, error %v", act.name, e.override, e.noWait, e.localReply, e.observe, e.replied, err)
		for d := range e.steps {
			s := &e.steps[d]
			t.Logf("direction %d: %v, then %v, %d chunks, trailers %v (sent: %v)", d, s.first, s.mode, len(s.chunks), s.trailers, s.sendTrailers)
		}
	}
}

// action is one of the things that processors do, and what it makes of bodies that exist if it isn't
// denied; nil is nothing.
type action struct {
	name              string
	run               func(ctx context.Context, x *exchange.Exchange) error
	request, response func(string) string
	denies            bool // nothing of the request may go on
	empty             func(d int) string
}

func actions() []action {
	grow := func(s string) string { return string(grown([]byte(s))) }
	another := func(string) string { return "another" }
	fail := func(dst io.Writer, src io.Reader) error { _, _ = io.CopyN(dst, src, 3); return errBoom }
	return []action{
		{name: "leave", run: func(_ context.Context, x *exchange.Exchange) error { x.Request.Header.Set("x-edit", "yes"); return nil }},
		{name: "deny", denies: true, run: func(context.Context, *exchange.Exchange) error { return exchange.Deny(403, "no") }},
		{name: "fail", denies: true, run: func(context.Context, *exchange.Exchange) error { return errBoom }},
		{name: "panic", denies: true, run: func(context.Context, *exchange.Exchange) error { panic("boom") }},
		{name: "next", run: next(0, nil)},
		{name: "next and deny", run: next(0, func(*exchange.Exchange, *exchange.Response) error { return exchange.Deny(403, "no") })},
		{name: "next and reply", run: next(0, func(x *exchange.Exchange, _ *exchange.Response) error { return x.Reply(exchange.Reply{Code: 403}) })},
		{name: "finish", run: finish(0, nil)},
		{name: "finish and fail", run: func(ctx context.Context, x *exchange.Exchange) error { return errors.Join(x.Finish(ctx), errBoom) }},
		{name: "read", run: read(nil)},
		{name: "read and deny", denies: true, run: read(func(context.Context, *exchange.Exchange) error { return exchange.Deny(403, "no") })},
		{name: "read and next", run: read(next(0, nil))},
		{name: "read, next and grow", run: read(next(exchange.EditBody, growResponse)), response: grow},
		{name: "read a byte", run: func(ctx context.Context, x *exchange.Exchange) error {
			if _, err := x.Request.Body.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return x.Finish(ctx)
		}},
		{name: "grow the request", request: grow, run: func(_ context.Context, x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			return nil
		}},
		{name: "grow both", request: grow, response: grow, run: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			return finish(exchange.EditBody, growResponse)(ctx, x)
		}},
		{name: "grow twice with a read between", request: func(s string) string { return grow(grow(s)) }, run: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			return read(func(_ context.Context, x *exchange.Exchange) error { x.Request.Body.Transform(growing); return nil })(ctx, x)
		}},
		{name: "set", request: another, empty: func(d int) string { return []string{"another", ""}[d] }, run: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Set([]byte("another"))
			return next(0, nil)(ctx, x)
		}},
		{name: "read and set", request: another, empty: func(d int) string { return []string{"another", ""}[d] }, run: read(func(_ context.Context, x *exchange.Exchange) error {
			x.Request.Body.Set([]byte("another"))
			return nil
		})},
		{name: "set the response", response: another, empty: func(d int) string { return []string{"", "another"}[d] },
			run: finish(exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
				resp.Body.Set([]byte("another"))
				return nil
			})},
		{name: "read the response", run: finish(exchange.EditBody, readResponse)},
		{name: "read the response and deny", run: next(exchange.EditBody, func(x *exchange.Exchange, resp *exchange.Response) error {
			return errors.Join(readResponse(x, resp), exchange.Deny(403, "no"))
		})},
		{name: "observe both", run: observe},
		{name: "fail in the request", request: another, run: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Transform(fail)
			return next(0, nil)(ctx, x)
		}},
		{name: "fail in the response", response: another, run: next(exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
			resp.Body.Transform(fail)
			return nil
		})},
		{name: "trailers", run: finish(exchange.Trailers, nil)},
	}
}

func next(want exchange.Want, fn func(*exchange.Exchange, *exchange.Response) error) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		resp, err := x.Next(ctx, want)
		if err != nil || fn == nil {
			return err
		}
		resp.Header.Set("x-edit", "yes")
		return fn(x, resp)
	}
}

func finish(want exchange.Want, fn func(*exchange.Exchange, *exchange.Response) error) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		if err := next(want, fn)(ctx, x); err != nil {
			return err
		}
		return x.Finish(ctx)
	}
}

func read(then exchange.ProcessorFunc) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		x.Request.Header.Set("x-edit", "yes")
		if _, err := x.Request.Body.Bytes(1 << 20); err != nil || then == nil {
			return err
		}
		return then(ctx, x)
	}
}

func growResponse(_ *exchange.Exchange, resp *exchange.Response) error {
	resp.Body.Transform(growing)
	return nil
}

func readResponse(_ *exchange.Exchange, resp *exchange.Response) error {
	_, err := resp.Body.Bytes(1 << 20)
	return err
}

// observe fails if what its functions see isn't what they are told is the end of it.
func observe(ctx context.Context, x *exchange.Exchange) error {
	look := func(src io.Reader) error { _, err := io.Copy(io.Discard, src); return err }
	x.Request.Body.Observe(look)
	return finish(exchange.ObserveBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
		resp.Body.Observe(look)
		return nil
	})(ctx, x)
}

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
	localReply bool
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
	h.Headers.Headers[0] = line(":method", "GET")
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
	if e.replied || e.observe {
		e.t.Errorf("spurious: %v", out)
	}
	switch r := out.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		e.headers(0, r.RequestHeaders.GetResponse())
		e.change(out.GetModeOverride())
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		e.headers(1, r.ResponseHeaders.GetResponse())
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
	default:
		e.standalone(out.GetModeOverride())
	}
	if _, headers := out.GetResponse().(*extprocv3.ProcessingResponse_RequestHeaders); !headers && out.GetResponse() != nil && out.GetModeOverride() != nil {
		e.t.Error("override in another answer")
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
	case e.localReply:
	case len(s.chunks) == 0 && act.empty != nil:
		want = act.empty(d)
	case len(s.chunks) > 0 && edit != nil:
		want = edit(want)
	}
	if got != want {
		e.t.Errorf("direction %d: %d bytes %.40q have arrived, not the %d bytes %.40q", d, len(got), got, len(want), want)
	}
}
