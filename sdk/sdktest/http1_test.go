package sdktest_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// over1 is the filter between ends that speak HTTP/1.
func over1(f sdktest.Filter) sdktest.Filter {
	f.HTTP1 = true
	return f
}

// http1Cases: what differs where client and upstream speak HTTP/1.
func http1Cases() (all []conform) {
	for _, cases := range [][]conform{http1Bodies(), http1Answers(), http1Lengths(), http1Continue(), http1Ends()} {
		for _, c := range cases {
			c.group, c.filter = "Over HTTP/1", over1(c.filter)
			all = append(all, c)
		}
	}
	return all
}

// http1Bodies: a processor that changes nothing, with all kinds of bodies. Envoy drops trailers there.
func http1Bodies() (all []conform) {
	for _, m := range modes {
		for _, c := range contents() {
			for _, pace := range paces {
				r := c.request(pace)
				r.Upstream = c.response(pace)
				all = append(all, conform{name: fmt.Sprintf("%s, %s, %s", m.name, c.name, paceName(pace)),
					processor: script{}.processor(), filter: m.filter(), request: r})
			}
		}
	}
	return all
}

// http1Answers are the answers to sized bodies and to headers, immediate responses, and what processors do.
func http1Answers() (all []conform) {
	for _, cases := range [][]conform{answerCases(), replyCases(), overrideCases(), verbCases()} {
		for _, c := range cases {
			sizes := c.request.Header.Get("Content-Length") + c.request.Upstream.Header.Get("Content-Length")
			if sizes == "" && c.group != "Immediate responses" || c.request.Trailer != nil && c.group != "Immediate responses" ||
				strings.HasPrefix(c.name, "block") { // which has nothing to do with it
				continue
			}
			if endMeetsReply(c) {
				c = c.loose(seenByThen)
			}
			if c.racy == "" && c.filter.Mode.RequestBody == sdktest.FullDuplex && strings.HasPrefix(c.group, "Answers to a ") {
				c.racy = "the end comes by itself, and meets the answer to what was before it"
			}
			c.name = c.group + ": " + c.name
			all = append(all, c)
		}
	}
	return all
}

// seenByThen is why a row of endMeetsReply is loose.
const seenByThen = "the answer to the end is spurious, and may meet what the upstream has of the one before"

// endMeetsReply: the end of a body is a message of its own, whose answer comes right behind the one that has
// ended the body already. Envoy mostly reads both at once, and has not sent anything on then.
func endMeetsReply(c conform) bool {
	ahead := c.filter.NoWait || c.filter.Mode.RequestBody == sdktest.FullDuplex
	return ahead && c.request.Pace == sdktest.Together && c.request.Body != nil &&
		(strings.Contains(c.name, "CONTINUE_AND_REPLACE") && c.group == "Answers to request headers" || strings.Contains(c.name, "streamed_response"))
}

// http1Lengths are bodies that aren't as long as their content-length says.
func http1Lengths() (all []conform) {
	const long = "a longer one than it was"
	for _, m := range modes[1:] {
		for _, text := range []string{long, "less", ""} {
			for i, s := range append(sides, sides...) {
				pace := paces[i/len(sides)]
				answer := s.body(wholeOf(text))
				if m.BodyMode == sdktest.FullDuplex {
					answer = s.body(chunkOf(text, true))
				}
				o := everything(m.BodyMode, sdktest.None)
				if s.name == "response" {
					o = everything(sdktest.None, m.BodyMode)
				}
				p := script{s.headerKind: say(overriding(s.headers(nil), o)), s.bodyKind: say(answer)}.processor()
				all = append(all, conform{name: fmt.Sprintf("ContentLengthAfterOverride, %s, %s of %d, %s", m.name, s.name, len(text), paceName(pace)),
					processor: p, filter: allowing(sdktest.None), request: patient(with(s.name, contents()[1], pace))})
			}
		}
	}
	return all
}

// http1Continue are requests whose body waits for the proxy's word.
func http1Continue() (all []conform) {
	expecting := func(n int) http.Header {
		return http.Header{"Content-Length": {strconv.Itoa(n)}, "Expect": {"100-continue"}}
	}
	deny := script{"request_headers": say(immediate(403, "no"))}.processor()
	const large = 5 << 20
	upload := make([]string, large>>16)
	for i := range upload {
		upload[i] = strings.Repeat("0123456789abcdef", 4<<10)
	}
	for _, m := range modes {
		f := m.filter()
		if m.BodyMode == sdktest.Buffered {
			f.BufferLimit = 2 * large // else what fits no more is a race with the denial
		}
		all = append(all,
			conform{name: "Expect: 100-continue, " + m.name, processor: script{}.processor(), filter: m.filter(),
				request: sdktest.Request{Header: expecting(8), Body: []string{"one body"}}},
			conform{name: "Expect: 100-continue, denied, " + m.name, processor: deny, filter: m.filter(),
				request: sdktest.Request{Header: expecting(8), Body: []string{"one body"}, Pace: sdktest.Flow}}.loose("the body meets the denial"),
			conform{name: "EarlyDenyOfALargeUpload, " + m.name, processor: deny, filter: f,
				request: sdktest.Request{Header: sized(large), Body: upload}}.loose("the body meets the denial"),
		)
	}
	return all
}

// http1Ends are responses without a body, and such as break off.
func http1Ends() (all []conform) {
	all = append(all, statusTraps()...)
	for _, c := range localTraps() {
		if strings.HasPrefix(c.name, "ClientGone") || strings.HasPrefix(c.name, "UpstreamResets") {
			all = append(all, c)
		}
	}
	for _, c := range lengthTraps() {
		if !strings.HasPrefix(c.name, "ContentLengthAfterOverride") {
			c.request = patient(c.request) // an upstream that gets both lengths waits for the other one
			all = append(all, c)
		}
	}
	for _, c := range bodyTraps() {
		if c.name == "LargeAnswerFDS" || c.name == "ReplaceInFDSWithBody" { // see endMeetsReply
			c = c.loose(seenByThen)
		}
		all = append(all, c)
	}
	once := sdktest.Script(func(stream process) error {
		ended := false
		for {
			m, err := stream.Recv()
			if err != nil {
				return err
			}
			answer := neutral(m, nil)
			if m.GetRequestBody() != nil {
				answer = requestBody(chunkOf("all of it", true))
			}
			if m.GetRequestBody() != nil && ended {
				continue
			}
			ended = ended || m.GetRequestBody() != nil
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
	})
	return append(all, conform{name: "EndOfItsOwnFDS", processor: once, filter: sdktest.Filter{Mode: sdktest.Mode{RequestBody: sdktest.FullDuplex, RequestTrailers: sdktest.On}},
		request: endOfItsOwn()})
}

// TestEndOfItsOwnMeetsTheReply: the answer to an end that a processor has sent already is spurious, unless the
// response was faster; so it is in both, and nothing else happens.
func TestEndOfItsOwnMeetsTheReply(t *testing.T) {
	t.Parallel()
	envoy := sdktest.Envoy(t)
	twice := script{"request_body": say(requestBody(chunkOf("all of it", true)))}.processor()
	for _, c := range []struct {
		name string
		run  func() *sdktest.Result
	}{
		{"emulated", func() *sdktest.Result { return sdktest.Run(t, twice, over1(both(sdktest.FullDuplex)), endOfItsOwn()) }},
		{"Envoy", func() *sdktest.Result { return envoy.Run(t, twice, over1(both(sdktest.FullDuplex)), endOfItsOwn()) }},
	} {
		spurious := 0
		for range 10 {
			switch r := c.run(); {
			case r.Client.Status == http.StatusOK && r.Upstream.Body == "all of it" && r.Upstream.End == sdktest.Complete:
			case r.Client.Status == http.StatusInternalServerError && r.Counters["spurious_msgs_received"] == 1:
				spurious++
			default:
				t.Errorf("%s: %v", c.name, r)
			}
		}
		t.Logf("%s: %d of 10 spurious", c.name, spurious)
	}
}

func endOfItsOwn() sdktest.Request {
	return sdktest.Request{Header: sized(8), Body: []string{"one body"}}
}
