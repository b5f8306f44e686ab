package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
	for range 20_000 {
		choices := make([]byte, random.IntN(40))
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
	e.modes = [2]modev3.ProcessingMode_BodySendMode{e.mode(), e.mode()}
	e.noWait = e.choose(4) == 0
	e.observe = e.choose(16) == 0
	e.steps[0].limit, e.steps[1].limit = 2+e.choose(6), 2+e.choose(6)
	e.trailers = [2]bool{e.choose(2) == 0, e.choose(2) == 0}
	e.localReply = e.choose(16) == 0
	what := e.choose(9)
	registrar := new(registry)
	extproc.NewServer(exchange.ProcessorFunc(func(ctx context.Context, x *exchange.Exchange) error {
		return act(ctx, x, what)
	}), quiet, extproc.WithDeadline(0)).Register(registrar)
	err := registrar.desc.Streams[0].Handler(registrar.impl, e)
	e.judge(err)
}

// act is one of the things that processors do.
func act(ctx context.Context, x *exchange.Exchange, what int) error {
	x.Request.Header.Set("x-edit", "yes")
	switch what {
	case 0:
		return nil
	case 1:
		return exchange.Deny(403, "no")
	case 2:
		return errors.New("boom")
	case 3:
		panic("boom")
	}
	if _, err := x.Next(ctx); err != nil {
		return err
	}
	switch what {
	case 4:
		return nil
	case 5:
		return exchange.Deny(403, "no")
	case 6:
		return x.Reply(exchange.Reply{Code: 403})
	}
	if err := x.Finish(ctx); err != nil {
		return err
	}
	if what == 7 {
		return nil
	}
	return errors.New("boom")
}

// registry takes the service instead of a grpc.Server.
type registry struct {
	desc *grpc.ServiceDesc
	impl any
}

func (r *registry) RegisterService(desc *grpc.ServiceDesc, impl any) { r.desc, r.impl = desc, impl }

// step is how far a direction of the emulated exchange has come: headers, body messages, end.
type step struct {
	sent, limit int
	ended       bool
	owed        []string
	in, out     string // bytes sent to the processor and received from it in full duplex
	echoedEnd   bool
	answered    bool // the headers
}

// emulator is Envoy's side of one stream.
type emulator struct {
	grpc.ServerStream
	t          *testing.T
	choices    []byte
	modes      [2]modev3.ProcessingMode_BodySendMode
	noWait     bool
	observe    bool
	localReply bool
	trailers   [2]bool
	steps      [2]step
	replied    bool
	first      bool
	over       bool // Envoy has nothing more to send
}

func (e *emulator) Context() context.Context    { return e.t.Context() }
func (e *emulator) SetHeader(metadata.MD) error { return nil }
func (e *emulator) choose(n int) int {
	if len(e.choices) == 0 {
		return 0
	}
	c := int(e.choices[0]) % n
	e.choices = e.choices[1:]
	return c
}

func (e *emulator) mode() modev3.ProcessingMode_BodySendMode {
	return modev3.ProcessingMode_BodySendMode(e.choose(5))
}

func (e *emulator) duplex(d int) bool {
	return e.modes[d] == modev3.ProcessingMode_FULL_DUPLEX_STREAMED
}

// may says whether direction d has something that Envoy would send now.
func (e *emulator) may(d int) bool {
	s := &e.steps[d]
	switch {
	case s.ended:
		return false
	case d == 1 && !e.localReply && !e.steps[0].answered && !e.observe:
		return false // upstream has not seen the request
	case s.sent > 0 && !s.answered && !e.duplex(d) && !e.noWait && !e.observe:
		return false // bodies wait for the answer to the headers
	}
	return d == 1 || !e.localReply
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
			if len(e.steps[d].owed) > 0 && !e.observe {
				e.t.Errorf("waits for a message while it owes %v", e.steps[d].owed)
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
			RequestBodyMode: e.modes[0], ResponseBodyMode: e.modes[1], SendBodyWithoutWaitingForHeaderResponse: e.noWait,
		}
	}
	e.first = true
	s.sent++
	last := s.sent >= s.limit
	switch {
	case s.sent == 1:
		bodiless := s.limit == 2
		s.ended = bodiless || e.modes[d] == modev3.ProcessingMode_NONE
		e.setHeaders(r, d, bodiless)
	case last && e.trailers[d]:
		s.ended = true
		e.setTrailers(r, d)
	default:
		s.ended = last
		e.setBody(r, d, fmt.Sprintf("<%d.%d>", d, s.sent), last)
	}
	return r
}

func (e *emulator) setHeaders(r *extprocv3.ProcessingRequest, d int, end bool) {
	line := func(k, v string) *corev3.HeaderValue { return &corev3.HeaderValue{Key: k, RawValue: []byte(v)} }
	h := &extprocv3.HttpHeaders{EndOfStream: end, Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{line(":status", "200")}}}
	e.steps[d].owed = append(e.steps[d].owed, "headers")
	if e.steps[d].ended {
		e.steps[d].echoedEnd = true
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
	if e.duplex(d) {
		s.in += text
	} else {
		s.owed = append(s.owed, "body")
	}
	if d == 0 {
		r.Request = &extprocv3.ProcessingRequest_RequestBody{RequestBody: b}
	} else {
		r.Request = &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: b}
	}
}

func (e *emulator) setTrailers(r *extprocv3.ProcessingRequest, d int) {
	e.steps[d].owed = append(e.steps[d].owed, "trailers")
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
		e.pay(0, "headers")
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		e.pay(1, "headers")
	case *extprocv3.ProcessingResponse_RequestBody:
		e.body(0, r.RequestBody)
	case *extprocv3.ProcessingResponse_ResponseBody:
		e.body(1, r.ResponseBody)
	case *extprocv3.ProcessingResponse_RequestTrailers:
		e.pay(0, "trailers")
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		e.pay(1, "trailers")
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		e.replied = true
		if e.steps[1].answered {
			e.t.Error("reply after the response has started")
		}
	default:
		e.t.Errorf("an answer to nothing is fatal: %v", out)
	}
	return nil
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
	case "trailers":
		s.echoedEnd = true
	}
}

func (e *emulator) body(d int, r *extprocv3.BodyResponse) {
	mutation := r.GetResponse().GetBodyMutation()
	s := &e.steps[d]
	if !e.duplex(d) {
		if mutation != nil {
			e.t.Errorf("mutation of a body in mode %v", e.modes[d])
		}
		e.pay(d, "body")
		return
	}
	if len(s.owed) > 0 && s.owed[0] == "headers" {
		e.t.Error("body before headers")
	}
	s.out += string(mutation.GetStreamedResponse().GetBody())
	if s.echoedEnd || mutation.GetStreamedResponse() == nil {
		e.t.Errorf("spurious chunk: %v", r)
	}
	s.echoedEnd = s.echoedEnd || mutation.GetStreamedResponse().GetEndOfStream()
}

// judge looks at how the stream was left.
func (e *emulator) judge(err error) {
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
		if s.sent > 0 && !s.answered {
			e.t.Errorf("OK close while headers of direction %d are unanswered", d)
		}
		if e.duplex(d) && !s.ended && !e.over {
			e.t.Errorf("OK close while chunks of direction %d may be under way", d)
		}
		if e.duplex(d) && (s.in != s.out || s.ended && !s.echoedEnd) {
			e.t.Errorf("direction %d lost bytes: sent %q, got %q, end %v", d, s.in, s.out, s.echoedEnd)
		}
	}
}
