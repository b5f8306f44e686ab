package sdktest_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

var phases = []string{"request_headers", "request_body", "request_trailers", "response_headers", "response_body", "response_trailers"}

// full is an exchange in which every phase comes.
func full() sdktest.Request {
	return sdktest.Request{
		Body: []string{"question"}, Trailer: trailing,
		Upstream: sdktest.Response{Body: []string{"answer"}, Trailer: trailing},
	}
}

// replyCases are answers in place of the upstream's.
func replyCases() (all []conform) {
	add := func(name string, f sdktest.Filter, s script, r sdktest.Request) {
		all = append(all, conform{group: "Replies", name: name, filter: f, request: r, processor: s.processor()})
	}
	for _, m := range modes {
		for _, phase := range phases {
			racy := ""
			if m.BodyMode != sdktest.Buffered && phase != "request_headers" {
				racy = "other messages are on their way"
			}
			all = append(all, conform{group: "Immediate responses", name: phase + ", " + m.name, filter: m.filter(), request: full(),
				processor: script{phase: say(immediate(403, "no", "x-why", "because"))}.processor(), racy: racy})
		}
	}
	for _, code := range []struct {
		name string
		code int
	}{{"without a status", 0}, {"100", 100}, {"199", 199}, {"204", 204}, {"599", 599}, {"600", 600}} {
		add("status "+code.name, sdktest.Filter{}, script{"request_headers": say(immediate(code.code, "body"))}, sdktest.Request{})
	}
	add("without a body", sdktest.Filter{}, script{"request_headers": say(immediate(403, ""))}, sdktest.Request{})
	add("to HEAD", sdktest.Filter{}, script{"request_headers": say(immediate(403, "no"))}, sdktest.Request{Method: http.MethodHead})
	add("content-type of its own", sdktest.Filter{}, script{"request_headers": say(immediate(403, "{}", "content-type", "application/json"))}, sdktest.Request{})
	add("two values of one header", sdktest.Filter{}, script{"request_headers": say(immediate(401, "", "+www-authenticate", "A", "+www-authenticate", "B"))}, sdktest.Request{})
	add("a header that is none", sdktest.Filter{}, script{"request_headers": say(immediate(403, "no", "x-good", "1", "x-bad", "a\r\nb: c", "x-late", "2"))}, sdktest.Request{})
	add("disabled", sdktest.Filter{DisableImmediateResponse: true}, script{"request_headers": say(immediate(403, "no"))}, sdktest.Request{})
	add("disabled, failure_mode_allow", sdktest.Filter{DisableImmediateResponse: true, FailureModeAllow: true}, script{"request_headers": say(immediate(403, "no"))}, sdktest.Request{})
	gRPC := http.Header{"Content-Type": {"application/grpc"}}
	for _, code := range []int{200, 400, 401, 403, 404, 429, 500, 503, 504, 599} {
		add(fmt.Sprintf("to gRPC, %d", code), sdktest.Filter{}, script{"request_headers": say(immediate(code, "why not?"))}, sdktest.Request{Method: http.MethodPost, Header: gRPC})
	}
	withStatus := immediate(403, "quota exceeded", "x-more", "1")
	withStatus.GetImmediateResponse().GrpcStatus = &extprocv3.GrpcStatus{Status: 8}
	add("to gRPC, with a status", sdktest.Filter{}, script{"request_headers": say(withStatus)}, sdktest.Request{Method: http.MethodPost, Header: gRPC})
	add("with a gRPC status to no gRPC", sdktest.Filter{}, script{"request_headers": say(withStatus)}, sdktest.Request{})
	add("mutation rules hold for its headers", sdktest.Filter{Mutations: sdktest.Rules{DisallowAll: true}}, script{"request_headers": say(immediate(403, "no", "x-why", "because"))}, sdktest.Request{})
	return append(all, streamedReplies()...)
}

// streamedReplies are replies in parts.
func streamedReplies() (all []conform) {
	whole := []*outgoing{streamedHeaders(false, ":status", "202", "x-a", "b"), streamedBody("one,", false), streamedBody("two", true)}
	for _, m := range modes {
		for _, c := range []struct {
			name    string
			answers []*outgoing
		}{
			{"headers, body", whole},
			{"headers alone", []*outgoing{streamedHeaders(true, ":status", "202")}},
			{"headers, body, trailers", []*outgoing{whole[0], whole[1], streamedTrailers("x-trailer", "yes")}},
		} {
			for _, kind := range contents()[:2] {
				all = append(all, conform{group: "Streamed replies", name: c.name + ", " + m.name + ", " + kind.name,
					filter: m.filter(), request: kind.request(sdktest.Together), racy: "the parts follow at once",
					processor: script{"request_headers": say(c.answers...)}.processor()})
			}
		}
	}
	one := func(name string, answers func(*incoming) ([]*outgoing, error), phase string) {
		all = append(all, conform{group: "Streamed replies", name: name, request: sdktest.Request{}, racy: "the parts follow at once",
			filter: modes[0].filter(), processor: script{phase: answers}.processor()})
	}
	one("after the request's headers were answered", say(streamedHeaders(true, ":status", "202")), "response_headers")
	one("without :status", say(streamedHeaders(true, "x-a", "b")), "request_headers")
	one("a body without headers", say(streamedBody("one", true)), "request_headers")
	return all
}

// patient is for exchanges that hang.
func patient(r sdktest.Request) sdktest.Request {
	r.Patience = 700e6
	return r
}

// failureCases: the processor closes, fails, hangs, or isn't there.
func failureCases() (all []conform) {
	add := func(name string, f sdktest.Filter, s script, r sdktest.Request, racy string) {
		all = append(all, conform{group: "Failures", name: name, filter: f, request: r, processor: s.processor(), racy: racy})
	}
	failures := []struct {
		name string
		err  error
	}{
		{"OK close", errClose},
		{"gRPC error", status.Error(codes.Internal, "secret text")},
		{"error without a status", errors.New("boom")},
	}
	for _, m := range modes {
		for _, allow := range []bool{false, true} {
			if allow && (m.noWait || m.BodyMode == sdktest.BufferedPartial) {
				continue
			}
			for _, fail := range failures[:2] {
				for _, phase := range phases {
					f := m.filter()
					f.FailureModeAllow = allow
					name := fail.name + " at " + phase + ", " + m.name
					if allow {
						name += ", failure_mode_allow"
					}
					add(name, f, script{phase: quit(fail.err)}, full(), "what was sent before the end is seen")
				}
			}
		}
	}
	add("error without a status", sdktest.Filter{}, script{"request_headers": quit(failures[2].err)}, sdktest.Request{}, "")
	add("status_on_error", sdktest.Filter{StatusOnError: 503}, script{"request_headers": quit(failures[2].err)}, sdktest.Request{}, "")
	add("status_on_error of a bad mutation", sdktest.Filter{StatusOnError: 503},
		script{"request_headers": say(requestHeaders(&common{HeaderMutation: setting("x", "a\nb")}))}, sdktest.Request{}, "")
	never := func(m *incoming) ([]*outgoing, error) { return nil, nil }
	for _, allow := range []bool{false, true} {
		name := ""
		if allow {
			name = ", failure_mode_allow"
		}
		for _, m := range modes {
			if allow && m.BodyMode != sdktest.None && m.BodyMode != sdktest.FullDuplex {
				continue
			}
			for _, phase := range phases {
				f := m.filter()
				f.MessageTimeout, f.FailureModeAllow = time.Second, allow
				r := full()
				if m.noWait && strings.HasSuffix(phase, "_body") || m.BodyMode == sdktest.FullDuplex && strings.HasSuffix(phase, "_trailers") {
					r = patient(r) // no timer runs
				}
				racy := ""
				if m.BodyMode == sdktest.FullDuplex && strings.HasSuffix(phase, "_headers") {
					racy = "the answer to a body, which is spurious, meets other answers"
				}
				add("no answer to "+phase+", "+m.name+name, f, script{phase: never}, r, racy)
			}
		}
		for _, m := range modes {
			f := m.filter()
			f.Dies, f.FailureModeAllow = 1, allow
			add("the server dies, "+m.name+name, f, script{}, full(), "what was sent before the end is seen")
		}
		all = append(all, conform{group: "Failures", name: "unreachable" + name, filter: sdktest.Filter{Unreachable: true, FailureModeAllow: allow},
			request: sdktest.Request{}, processor: script{}.processor()})
	}
	return all
}
