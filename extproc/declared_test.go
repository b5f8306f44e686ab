package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/extproc/doctor"
)

// declaring is a server whose processor declares needs, and what became of an exchange of it.
type declaring struct {
	serve   func(*played) error
	log     bytes.Buffer
	ran     int
	outcome exchange.Outcome
}

func newDeclaring(n exchange.Needs) *declaring {
	d := &declaring{}
	p := exchange.Declare(n, exchange.ProcessorFunc(func(context.Context, *exchange.Exchange) error { d.ran++; return nil }))
	registrar := new(registry)
	extproc.NewServer(p, extproc.WithLogger(slog.New(slog.NewTextHandler(&d.log, nil))), extproc.WithName("guard"),
		extproc.OnOutcome(func(o exchange.Outcome) { d.outcome = o })).Register(registrar)
	d.serve = func(s *played) error { return registrar.desc.Streams[0].Handler(registrar.impl, s) }
	return d
}

// ask sends what f sends of a GET without a body.
func (d *declaring) ask(t *testing.T, f *modev3.ExternalProcessor) *played {
	t.Helper()
	md := metadata.MD{}
	for _, h := range f.GetGrpcService().GetInitialMetadata() {
		md.Set(h.GetKey(), h.GetValue())
	}
	m := &extprocv3.ProcessingRequest{
		Request:           &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: twentyLines()},
		ObservabilityMode: f.GetObservabilityMode(),
	}
	if !f.GetObservabilityMode() {
		m.ProtocolConfig = &extprocv3.ProtocolConfiguration{
			RequestBodyMode: f.GetProcessingMode().GetRequestBodyMode(), ResponseBodyMode: f.GetProcessingMode().GetResponseBodyMode(),
		}
	}
	s := &played{ctx: metadata.NewIncomingContext(t.Context(), md), messages: []string{marshalled(t, m)}}
	if err := d.serve(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// describedFilter is a filter of one body mode whose self-description is true.
func describedFilter(mode modev3.ProcessingMode_BodySendMode, trailers, override bool) *modev3.ExternalProcessor {
	text, send := "v=1; timeout=1s; max-timeout=2s; untyped=listed", modev3.ProcessingMode_SKIP
	if trailers {
		text, send = text+"; trailers", modev3.ProcessingMode_SEND
	}
	if override {
		text += "; override"
	}
	return &modev3.ExternalProcessor{
		ProcessingMode: &modev3.ProcessingMode{
			RequestBodyMode: mode, ResponseBodyMode: mode, RequestTrailerMode: send, ResponseTrailerMode: send,
		},
		AllowModeOverride: override,
		MessageTimeout:    durationpb.New(time.Second), MaxMessageTimeout: durationpb.New(2 * time.Second),
		MetadataOptions: &modev3.MetadataOptions{ReceivingNamespaces: &modev3.MetadataOptions_MetadataNamespaces{Untyped: []string{"listed"}}},
		GrpcService:     &corev3.GrpcService{InitialMetadata: []*corev3.HeaderValue{{Key: "x-gatehouse-extproc", Value: text}}},
	}
}

// fieldsOf are the fields of the doctor's errors that needs add to what is wrong with f anyway.
func fieldsOf(f *modev3.ExternalProcessor, n *exchange.Needs) (fields []string) {
	for _, finding := range doctor.Check(f, nil, n)[len(doctor.Check(f, nil, nil)):] {
		if finding.Severity == doctor.Error {
			fields = append(fields, finding.Field)
		}
	}
	return fields
}

// TestDeclaredNeedsAreHeldAgainstTheFilter: the first exchange tells of a filter what the doctor does.
func TestDeclaredNeedsAreHeldAgainstTheFilter(t *testing.T) {
	t.Parallel()
	cases := map[string]exchange.Needs{
		"nothing":                 {},
		"a namespace":             {Metadata: []string{"listed"}},
		"a namespace not listed":  {Metadata: []string{"listed", "other"}},
		"routing":                 {Routing: true},
		"time":                    {Pause: 2 * time.Second},
		"too much time":           {Pause: 3 * time.Second},
		"the request's trailers":  {RequestTrailers: true},
		"the response's trailers": {ResponseTrailers: true},
		"replies, the response":   {Reply: true, ResponseHeaders: true},
	}
	for _, request := range []exchange.BodyUse{exchange.BodyUntouched, exchange.BodyObserved, exchange.BodyEdited} {
		for _, response := range []exchange.BodyUse{exchange.BodyUntouched, exchange.BodyObserved, exchange.BodyEdited} {
			cases[fmt.Sprintf("request %v, response %v", request, response)] = exchange.Needs{RequestBody: request, ResponseBody: response}
		}
	}
	met, unmet := 0, 0
	for name, needs := range cases {
		for _, mode := range []modev3.ProcessingMode_BodySendMode{modev3.ProcessingMode_NONE, modev3.ProcessingMode_STREAMED,
			modev3.ProcessingMode_BUFFERED, modev3.ProcessingMode_BUFFERED_PARTIAL, modev3.ProcessingMode_FULL_DUPLEX_STREAMED} {
			for _, trailers := range []bool{false, true} {
				for _, override := range []bool{false, true} {
					if mode == modev3.ProcessingMode_FULL_DUPLEX_STREAMED && !trailers {
						continue // Envoy refuses it
					}
					f := describedFilter(mode, trailers, override)
					d := newDeclaring(needs)
					d.ask(t, f)
					fields := fieldsOf(f, &needs)
					id := fmt.Sprintf("%s, %v, trailers %v, override %v", name, mode, trailers, override)
					for _, field := range fields {
						if !strings.Contains(d.log.String(), "field="+field+" ") {
							t.Errorf("%s: %s isn't told: %s", id, field, &d.log)
						}
					}
					if lines := strings.Count(d.log.String(), "\n"); lines != len(fields) {
						t.Errorf("%s: %d lines, the doctor has %d: %s", id, lines, len(fields), &d.log)
					}
					if len(fields) == 0 {
						met++
					} else {
						unmet++
					}
					if refused := errors.Is(d.outcome.Err, exchange.ErrNeeds); refused != (len(fields) > 0) || refused == (d.ran == 1) {
						t.Errorf("%s: ran %d times, %v", id, d.ran, d.outcome.Err)
					}
				}
			}
		}
	}
	if met == 0 || unmet == 0 {
		t.Errorf("%d met, %d unmet", met, unmet)
	}
}

// TestAnUnmetNeedIsToldOnce: each exchange is refused, each contradiction told once, and each other one too.
func TestAnUnmetNeedIsToldOnce(t *testing.T) {
	t.Parallel()
	d := newDeclaring(exchange.Needs{RequestBody: exchange.BodyEdited})
	for range 3 {
		d.ask(t, describedFilter(modev3.ProcessingMode_NONE, false, false))
		if d.outcome.Reply.Status() != 503 {
			t.Errorf("reply %v", d.outcome.Reply)
		}
	}
	d.ask(t, describedFilter(modev3.ProcessingMode_STREAMED, false, false))
	d.ask(t, &modev3.ExternalProcessor{}) // tells nothing of itself but its modes, which are those of the first
	log := d.log.String()
	if strings.Count(log, "\n") != 2 || !strings.Contains(log, "mode NONE doesn't allow") || !strings.Contains(log, "mode STREAMED doesn't allow") ||
		!strings.Contains(log, "allow_mode_override") || !strings.Contains(log, "processor=guard") || d.ran != 0 {
		t.Errorf("ran %d times:\n%s", d.ran, log)
	}
	d.ask(t, describedFilter(modev3.ProcessingMode_NONE, false, true))
	if d.ran != 1 {
		t.Error("a filter that meets the need isn't served")
	}
}

// TestAnObserverThatDeclaresEdits: nothing is answered in observability mode, and the processor isn't run.
func TestAnObserverThatDeclaresEdits(t *testing.T) {
	t.Parallel()
	for name, needs := range map[string]exchange.Needs{"edits": {RequestBody: exchange.BodyEdited}, "replies": {Reply: true}} {
		f := describedFilter(modev3.ProcessingMode_NONE, false, false)
		f.ObservabilityMode = true
		d := newDeclaring(needs)
		if s := d.ask(t, f); s.answers != 0 || d.ran != 0 || !errors.Is(d.outcome.Err, exchange.ErrNeeds) || d.outcome.Reply != nil ||
			!strings.Contains(d.log.String(), "field=observability_mode") {
			t.Errorf("%s: %d answers, ran %d times, %+v, %s", name, s.answers, d.ran, d.outcome, &d.log)
		}
	}
}

// TestRoutingThatTheFilterTellsOf: mutate-all is its word for mutation_rules.
func TestRoutingThatTheFilterTellsOf(t *testing.T) {
	t.Parallel()
	f := describedFilter(modev3.ProcessingMode_NONE, false, false)
	f.MutationRules = &mutationv3.HeaderMutationRules{AllowAllRouting: wrapperspb.Bool(true), AllowEnvoy: wrapperspb.Bool(true)}
	f.GrpcService.InitialMetadata[0].Value += "; mutate-all"
	needs := exchange.Needs{Routing: true}
	d := newDeclaring(needs)
	if d.ask(t, f); d.ran != 1 || len(fieldsOf(f, &needs)) > 0 {
		t.Errorf("%v, %s", d.outcome.Err, &d.log)
	}
}

// TestAFilterThatTellsNothingOfItself: its modes are known, and what isn't known contradicts nothing.
func TestAFilterThatTellsNothingOfItself(t *testing.T) {
	t.Parallel()
	duplex := modev3.ProcessingMode_FULL_DUPLEX_STREAMED
	f := &modev3.ExternalProcessor{ProcessingMode: &modev3.ProcessingMode{RequestBodyMode: duplex, ResponseBodyMode: duplex}}
	d := newDeclaring(exchange.Needs{
		RequestBody: exchange.BodyEdited, ResponseBody: exchange.BodyEdited, RequestTrailers: true, ResponseTrailers: true,
		Reply: true, Routing: true, Metadata: []string{"any"}, Reads: []string{"any"}, RequestAttributes: []string{"any"}, Pause: time.Hour,
	})
	if d.ask(t, f); d.ran != 1 || errors.Is(d.outcome.Err, exchange.ErrNeeds) {
		t.Errorf("ran %d times, %v, %s", d.ran, d.outcome.Err, &d.log)
	}
}
