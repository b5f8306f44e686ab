package sdktest_test

import (
	"fmt"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// form is a form of answer to a message.
type form struct {
	name string
	*common
}

func withHeaders(r *common, h ...string) *common {
	r.HeaderMutation = setting(h...)
	return r
}

// bodyForms are the answers to a part of a body; "one body" has 8 bytes.
func bodyForms() []form {
	return []form{
		{"empty", &common{}},
		{"body of the same length", wholeOf("8 bytes!")},
		{"body of another length", wholeOf("another one")},
		{"body of another length and its content-length", withHeaders(wholeOf("another one"), "content-length", "11")},
		{"body of another length, content-length removed", withHeaders(wholeOf("another one"), "-content-length", "")},
		{"an empty body", wholeOf("")},
		{"clear_body", clearing()},
		{"streamed_response", chunkOf("another one", true)},
		{"a mutation without a oneof", &common{BodyMutation: &extprocv3.BodyMutation{}}},
		{"headers", withHeaders(&common{}, "x-set", "yes")},
		{"CONTINUE_AND_REPLACE", replacing(wholeOf("another one"))},
	}
}

// headerForms are the answers to headers.
func headerForms() []form {
	return []form{
		{"CONTINUE_AND_REPLACE with a body", replacing(wholeOf("instead"))},
		{"CONTINUE_AND_REPLACE with an empty body", replacing(wholeOf(""))},
		{"CONTINUE_AND_REPLACE with clear_body", replacing(clearing())},
		{"CONTINUE_AND_REPLACE without a body", replacing(&common{})},
		{"CONTINUE_AND_REPLACE with headers", replacing(withHeaders(wholeOf("instead"), "x-set", "yes"))},
		{"a body, but CONTINUE", wholeOf("instead")},
		{"content-length of its own", withHeaders(&common{}, "content-length", "8")},
	}
}

// side is a direction, with its messages.
type side struct {
	name                  string
	headerKind, bodyKind  string
	headers, body         func(*common) *outgoing
	otherHeader, trailers string
}

var sides = []side{
	{"request", "request_headers", "request_body", requestHeaders, requestBody, "response_headers", "request_trailers"},
	{"response", "response_headers", "response_body", responseHeaders, responseBody, "request_headers", "response_trailers"},
}

var paces = []sdktest.Pace{sdktest.Together, sdktest.Late}

func paceName(p sdktest.Pace) string {
	return []string{"at once", "after the headers' answer", "as it goes"}[p]
}

// with puts content into one direction of an exchange.
func with(side string, c content, p sdktest.Pace) sdktest.Request {
	if side == "request" {
		return c.request(p)
	}
	return sdktest.Request{Upstream: c.response(p)}
}

func answerCases() (all []conform) {
	for _, m := range modes[1:] {
		for _, s := range sides {
			for _, f := range bodyForms() {
				for _, c := range contents()[1:3] {
					for _, p := range paces {
						if c.name == "chunks" && (p == sdktest.Together || m.BodyMode == sdktest.Buffered || m.BodyMode == sdktest.BufferedPartial || m.BodyMode == sdktest.FullDuplex && f.name == "streamed_response") {
							continue
						}
						r := with(s.name, c, p)
						all = append(all, conform{
							group: "Answers to a " + s.name + " body", name: fmt.Sprintf("%s, %s, %s, %s", m.name, f.name, c.name, paceName(p)),
							processor: script{s.bodyKind: say(s.body(f.common))}.processor(), filter: m.filter(), request: r,
							racy: racyChunks(m, c),
						})
					}
				}
			}
		}
	}
	for _, m := range modes {
		for _, s := range sides {
			for _, f := range headerForms() {
				for _, c := range contents()[:3] {
					for _, p := range paces {
						if c.name == "no body" && p == sdktest.Late || c.name == "chunks" && (p == sdktest.Together || m.BodyMode != sdktest.Streamed) {
							continue
						}
						r := with(s.name, c, p)
						all = append(all, conform{
							group: "Answers to " + s.name + " headers", name: fmt.Sprintf("%s, %s, %s, %s", m.name, f.name, c.name, paceName(p)),
							processor: script{s.headerKind: say(s.headers(f.common))}.processor(), filter: m.filter(), request: r,
							racy: racyReplacement(m, c),
						})
					}
				}
			}
		}
	}
	return append(all, oddAnswers()...)
}

// oddAnswers are messages that nothing asked for.
func oddAnswers() (all []conform) {
	odd := []struct {
		name    string
		answers []*outgoing
	}{
		{"a message with nothing in it", []*outgoing{{}}},
		{"a window update alone", []*outgoing{{ServerWindowUpdate: &extprocv3.ProcessingResponse_ServerWindowUpdate{WindowIncrementDownstreamToSidestream: 1}}}},
		{"request_drain alone", []*outgoing{{RequestDrain: true}}},
		{"an answer of the other direction", []*outgoing{responseHeaders(nil)}},
		{"an answer to a body", []*outgoing{requestBody(nil)}},
		{"an answer to trailers", []*outgoing{requestTrailers(nil)}},
		{"the answer twice", []*outgoing{requestHeaders(nil), requestHeaders(nil)}},
		{"dynamic metadata alone", []*outgoing{{ModeOverride: nil, OverrideMessageTimeout: durationpb.New(0)}}},
		{"a new field beside the answer", []*outgoing{{
			Response: requestHeaders(nil).GetResponse(), RequestDrain: true,
			ServerWindowUpdate: &extprocv3.ProcessingResponse_ServerWindowUpdate{WindowIncrementDownstreamToSidestream: 1},
		}}},
	}
	for _, allow := range []bool{false, true} {
		for _, o := range odd {
			f := sdktest.Filter{Mode: sdktest.Bodies(sdktest.Streamed), FailureModeAllow: allow, MessageTimeout: 1500e6}
			name := o.name
			if allow {
				name += ", failure_mode_allow"
			}
			all = append(all, conform{
				group: "What nothing asked for", name: name, processor: script{"request_headers": say(o.answers...)}.processor(), filter: f,
				request: sdktest.Request{Body: []string{"one,", "two"}, Upstream: sdktest.Response{Body: []string{"ok"}}},
				racy:    racyTwice(o.name),
			})
		}
	}
	return all
}

func racyTwice(name string) string {
	if name == "the answer twice" {
		return "the second answer meets what the first has set going"
	}
	return ""
}

func racyChunks(m mode, c content) string {
	if (m.BodyMode == sdktest.FullDuplex || m.BodyMode == sdktest.Streamed) && c.name == "chunks" {
		return "chunks are on their way when the answer to the first one is wrong"
	}
	return ""
}

func racyReplacement(m mode, c content) string {
	if (m.noWait || m.BodyMode == sdktest.FullDuplex) && c.chunks != nil {
		return "chunks are on their way when the headers are answered"
	}
	return ""
}
