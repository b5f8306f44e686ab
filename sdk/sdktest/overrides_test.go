package sdktest_test

import (
	"fmt"
	"time"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

const (
	sendIt = extprocfilterv3.ProcessingMode_SEND
	skipIt = extprocfilterv3.ProcessingMode_SKIP
)

// everything is the override with all six fields set.
func everything(request, response sdktest.BodyMode) *extprocfilterv3.ProcessingMode {
	return &extprocfilterv3.ProcessingMode{
		RequestHeaderMode: sendIt, ResponseHeaderMode: sendIt, RequestTrailerMode: sendIt, ResponseTrailerMode: sendIt,
		RequestBodyMode:  extprocfilterv3.ProcessingMode_BodySendMode(request),
		ResponseBodyMode: extprocfilterv3.ProcessingMode_BodySendMode(response),
	}
}

func overriding(a *outgoing, o *extprocfilterv3.ProcessingMode) *outgoing {
	a.ModeOverride = o
	return a
}

// overrideCases: from every mode to every mode, and the rules about it.
func overrideCases() (all []conform) {
	const group = "Overrides"
	add := func(name string, f sdktest.Filter, s script, r sdktest.Request) {
		all = append(all, conform{group: group, name: name, processor: s.processor(), filter: f, request: r})
	}
	for _, from := range []mode{modes[0], modes[1], modes[3], modes[4]} {
		for _, to := range []mode{modes[0], modes[1], modes[3], modes[4], modes[5]} {
			for _, c := range []content{contents()[1], contents()[4]} {
				f := from.filter()
				f.AllowModeOverride = true
				both := overriding(requestHeaders(nil), everything(to.BodyMode, to.BodyMode))
				r := c.request(sdktest.Together)
				r.Upstream = c.response(sdktest.Together)
				add(fmt.Sprintf("%s to %s, %s", from.name, to.name, c.name), f, script{"request_headers": say(both)}, r)
				late := overriding(responseHeaders(nil), everything(to.BodyMode, to.BodyMode))
				add(fmt.Sprintf("%s to %s with the response's headers, %s", from.name, to.name, c.name), f,
					script{"response_headers": say(late)}, with("response", c, sdktest.Together))
			}
		}
	}
	return append(all, overrideRules()...)
}

// overrideRules: when an override is void, and what its absent fields mean.
func overrideRules() (all []conform) {
	body := sdktest.Request{Body: []string{"one,", "two"}, Upstream: sdktest.Response{Body: []string{"ok"}}}
	bodies := func(request sdktest.BodyMode) *extprocfilterv3.ProcessingMode {
		return &extprocfilterv3.ProcessingMode{RequestBodyMode: extprocfilterv3.ProcessingMode_BodySendMode(request)}
	}
	streamed := sdktest.Mode{RequestBody: sdktest.Streamed}
	all6 := sdktest.Mode{RequestHeaders: sdktest.On, ResponseHeaders: sdktest.On, RequestBody: sdktest.Streamed, ResponseBody: sdktest.None, RequestTrailers: sdktest.On, ResponseTrailers: sdktest.On}
	toStreamed := everything(sdktest.Streamed, sdktest.None)
	for _, c := range []struct {
		name   string
		filter sdktest.Filter
		o      *extprocfilterv3.ProcessingMode
	}{
		{"not allowed: ignored without a word", sdktest.Filter{}, toStreamed},
		{"not among allowed_override_modes", sdktest.Filter{AllowModeOverride: true, AllowedOverrideModes: []sdktest.Mode{sdktest.Bodies(sdktest.Buffered)}}, toStreamed},
		{"among allowed_override_modes", sdktest.Filter{AllowModeOverride: true, AllowedOverrideModes: []sdktest.Mode{all6}}, toStreamed},
		{"allowed_override_modes with DEFAULT where it says SEND", sdktest.Filter{AllowModeOverride: true, AllowedOverrideModes: []sdktest.Mode{streamed}}, toStreamed},
		{"with send_body_without_waiting_for_header_response", sdktest.Filter{Mode: sdktest.Bodies(sdktest.Streamed), AllowModeOverride: true, NoWait: true}, everything(sdktest.None, sdktest.None)},
		{"of a full-duplex filter", sdktest.Filter{Mode: sdktest.Bodies(sdktest.FullDuplex), AllowModeOverride: true}, everything(sdktest.None, sdktest.None)},
		{"of a filter whose response is full duplex", sdktest.Filter{Mode: sdktest.Mode{ResponseBody: sdktest.FullDuplex, ResponseTrailers: sdktest.On}, AllowModeOverride: true}, everything(sdktest.None, sdktest.None)},
		{"absent header modes stay", sdktest.Filter{Mode: sdktest.Mode{RequestTrailers: sdktest.On, ResponseHeaders: sdktest.Off}, AllowModeOverride: true}, bodies(sdktest.Streamed)},
		{"an absent body mode is NONE", sdktest.Filter{Mode: sdktest.Bodies(sdktest.Streamed), AllowModeOverride: true}, bodies(sdktest.Streamed)},
		{"absent header modes are the filter's, not the route's", sdktest.Filter{Mode: sdktest.Mode{ResponseHeaders: sdktest.Off}, Route: &sdktest.Override{Mode: &sdktest.Mode{ResponseHeaders: sdktest.On}}, AllowModeOverride: true}, bodies(sdktest.None)},
		{"SKIP of all that is left closes the stream", sdktest.Filter{Mode: sdktest.Bodies(sdktest.Streamed), AllowModeOverride: true},
			&extprocfilterv3.ProcessingMode{ResponseHeaderMode: skipIt, RequestTrailerMode: skipIt, ResponseTrailerMode: skipIt}},
	} {
		all = append(all, conform{group: "Rules of overrides", name: c.name, filter: c.filter, request: body,
			processor: script{"request_headers": say(overriding(requestHeaders(nil), c.o))}.processor()})
	}
	for _, kind := range []string{"request_body", "response_body"} {
		answer := requestBody
		if kind == "response_body" {
			answer = responseBody
		}
		all = append(all, conform{group: "Rules of overrides", name: "in the answer to a " + kind + ": void",
			filter: sdktest.Filter{Mode: sdktest.Bodies(sdktest.Streamed), AllowModeOverride: true}, request: body,
			processor: script{kind: say(overriding(answer(&common{}), everything(sdktest.None, sdktest.None)))}.processor()})
	}
	return append(all, standaloneCases()...)
}

// standaloneCases: overrides in a message of their own.
func standaloneCases() (all []conform) {
	alone := func(o *extprocfilterv3.ProcessingMode) *outgoing { return overriding(&outgoing{}, o) }
	for _, c := range []struct {
		name   string
		mode   sdktest.BodyMode
		o      *extprocfilterv3.ProcessingMode
		forbid bool
	}{
		{"NONE to FULL_DUPLEX_STREAMED", sdktest.None, everything(sdktest.FullDuplex, sdktest.None), false},
		{"STREAMED to FULL_DUPLEX_STREAMED", sdktest.Streamed, everything(sdktest.FullDuplex, sdktest.None), false},
		{"NONE to FULL_DUPLEX_STREAMED, both directions", sdktest.None, everything(sdktest.FullDuplex, sdktest.FullDuplex), false},
		{"BUFFERED to FULL_DUPLEX_STREAMED", sdktest.Buffered, everything(sdktest.FullDuplex, sdktest.None), false},
		{"BUFFERED_PARTIAL to FULL_DUPLEX_STREAMED", sdktest.BufferedPartial, everything(sdktest.FullDuplex, sdktest.None), false},
		{"NONE to STREAMED", sdktest.None, everything(sdktest.Streamed, sdktest.None), false},
		{"NONE to BUFFERED", sdktest.None, everything(sdktest.Buffered, sdktest.None), false},
		{"FULL_DUPLEX_STREAMED to NONE", sdktest.FullDuplex, everything(sdktest.None, sdktest.None), false},
		{"not allowed", sdktest.None, everything(sdktest.FullDuplex, sdktest.None), true},
	} {
		for _, kind := range []content{contents()[0], contents()[1], contents()[2], contents()[4]} {
			f := sdktest.Filter{Mode: sdktest.Bodies(c.mode), AllowModeOverride: !c.forbid}
			r := kind.request(sdktest.Together)
			r.Upstream.Body = []string{"ok"}
			all = append(all, conform{group: "Overrides by themselves", name: c.name + ", " + kind.name + ", then an answer",
				filter: f, request: r, processor: script{"request_headers": say(alone(c.o), requestHeaders(nil))}.processor(),
				racy: "the answer follows at once"})
		}
	}
	held := script{
		"request_headers": say(alone(everything(sdktest.FullDuplex, sdktest.None))),
		"request_body":    say(requestHeaders(withHeaders(&common{}, "x-held", "yes")), requestBody(chunkOf("another body", true))),
	}
	all = append(all,
		conform{group: "Overrides by themselves", name: "the body comes before the headers are answered", processor: held.processor(),
			filter:  sdktest.Filter{Mode: sdktest.Bodies(sdktest.None), AllowModeOverride: true},
			request: sdktest.Request{Header: sized(8), Body: []string{"one body"}}},
		conform{group: "Overrides by themselves", name: "no message timeout runs while the headers wait", processor: script{
			"request_headers": say(alone(everything(sdktest.FullDuplex, sdktest.None))),
			"request_body":    slowly(2*time.Second, say(requestHeaders(nil), requestBody(chunkOf("one body", true)))),
		}.processor(), filter: sdktest.Filter{Mode: sdktest.Bodies(sdktest.None), AllowModeOverride: true, MessageTimeout: time.Second},
			request: sdktest.Request{Body: []string{"one body"}}},
		conform{group: "Overrides by themselves", name: "a denial after the body was read", processor: script{
			"request_headers": say(alone(everything(sdktest.FullDuplex, sdktest.None))),
			"request_body":    say(immediate(403, "no")),
		}.processor(), filter: sdktest.Filter{Mode: sdktest.Bodies(sdktest.None), AllowModeOverride: true}, request: sdktest.Request{Body: []string{"one body"}}},
		conform{group: "Overrides by themselves", name: "in the response: StandaloneOverrideInResponsePhase", processor: script{
			"response_headers": say(alone(everything(sdktest.None, sdktest.FullDuplex))),
		}.processor(), filter: sdktest.Filter{Mode: sdktest.Bodies(sdktest.None), AllowModeOverride: true},
			request: sdktest.Request{Upstream: sdktest.Response{Body: []string{"one body"}}}})
	return all
}
