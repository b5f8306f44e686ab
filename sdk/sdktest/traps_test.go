package sdktest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// trap is a behaviour by which processors have come to grief.
func trap(name string, p any, f sdktest.Filter, r sdktest.Request) conform {
	return conform{group: "Traps", name: name, processor: p, filter: f, request: r}
}

func both(m sdktest.BodyMode) sdktest.Filter { return sdktest.Filter{Mode: sdktest.Bodies(m)} }

func allowing(m sdktest.BodyMode) sdktest.Filter {
	f := both(m)
	f.AllowModeOverride = true
	return f
}

func trapCases() (all []conform) {
	for _, cases := range [][]conform{
		lengthTraps(), bodyTraps(), endTraps(), orderTraps(), timeoutTraps(), localTraps(), statusTraps(), routeTraps(), replyTraps(),
	} {
		all = append(all, cases...)
	}
	return all
}

// lengthTraps are about content-length.
func lengthTraps() []conform {
	sizedRequest := sdktest.Request{Header: sized(8), Body: []string{"one body"}, Upstream: sdktest.Response{Header: sized(6), Body: []string{"answer"}}}
	toStreamed := script{
		"response_headers": say(overriding(responseHeaders(nil), everything(sdktest.None, sdktest.Streamed))),
		"response_body":    say(responseBody(wholeOf("a longer answer"))),
	}.processor()
	echoing := script{"request_headers": say(requestHeaders(&common{HeaderMutation: setting(
		"transfer-encoding", "chunked", "content-length", "8", "connection", "keep-alive", "keep-alive", "timeout=5", "te", "gzip")}))}
	out := []conform{
		trap("ContentLengthAfterOverride", toStreamed, allowing(sdktest.None), sizedRequest),
		trap("EchoedConnectionHeaders", echoing.processor(), sdktest.Filter{}, sizedRequest),
		trap("HeadContentLengthStripped", script{}.processor(), both(sdktest.Streamed), sdktest.Request{Method: http.MethodHead, Upstream: sdktest.Response{Header: sized(99)}}),
		trap("HeadContentLengthKeptByOverride", served(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error { return x.Finish(ctx) })),
			sdktest.Recommended(), sdktest.Request{Method: http.MethodHead, Upstream: sdktest.Response{Header: sized(99)}}),
	}
	for _, m := range modes {
		f := m.filter()
		f.AllowContentLength = true
		out = append(out, trap("AllowContentLengthHeader, "+m.name, script{}.processor(), f, sizedRequest))
		again := script{"request_headers": say(requestHeaders(&common{HeaderMutation: setting("content-length", "8")}))}
		out = append(out, trap("ContentLengthReadded, "+m.name, again.processor(), m.filter(), sizedRequest))
		f = m.filter()
		f.Mode.RequestHeaders = sdktest.Off
		out = append(out, trap("ContentLengthWithoutHeaders, "+m.name, script{}.processor(), f, sizedRequest))
	}
	return out
}

// bodyTraps are about sizes and forms of bodies.
func bodyTraps() []conform {
	big := strings.Repeat("0123456789abcdef", 4<<10) // 64 KiB
	limited := func(m sdktest.BodyMode) sdktest.Filter {
		f := both(m)
		f.BufferLimit = 65535
		return f
	}
	small := both(sdktest.Buffered)
	small.ReceiveLimit = 1 << 10
	over := strings.Repeat("x", 80<<10)
	out := []conform{
		trap("MessageOverReceiveLimit", script{}.processor(), small, sdktest.Request{Body: []string{strings.Repeat("x", 2<<10)}}),
		trap("BufferedOverLimit, request", script{}.processor(), limited(sdktest.Buffered), patient(sdktest.Request{Body: []string{over}})).loose("the body flows"),
		trap("BufferedOverLimit, request, response headers SKIP", script{}.processor(), sdktest.Filter{
			Mode: sdktest.Mode{RequestBody: sdktest.Buffered, ResponseHeaders: sdktest.Off}, BufferLimit: 65535,
		}, sdktest.Request{Body: []string{over}}).loose("the body flows"),
		trap("BufferedOverLimit, response", script{}.processor(), limited(sdktest.Buffered), sdktest.Request{Upstream: sdktest.Response{Body: []string{over}}}).loose("the body flows"),
		trap("LargeAnswerFDS", script{"request_body": say(requestBody(chunkOf(big, true)))}.processor(), both(sdktest.FullDuplex), sdktest.Request{Body: []string{"one"}}),
		trap("ReplaceInFDSWithBody", script{"request_headers": say(requestHeaders(replacing(wholeOf("instead"))))}.processor(), both(sdktest.FullDuplex), sdktest.Request{Body: []string{"one body"}}).
			loose("the body is on its way when the headers are answered"),
		trap("EmptyReplaceDropsFirstChunk", script{"response_headers": say(responseHeaders(replacing(&common{})))}.processor(), both(sdktest.FullDuplex),
			sdktest.Request{Upstream: sdktest.Response{Body: []string{"first,", "second"}, Pace: sdktest.Together}}).
			loose("the body is on its way when the headers are answered"),
		trap("GrpcModeBypass", script{}.processor(), both(sdktest.GRPC), sdktest.Request{Body: []string{"one,", "two"}, Upstream: sdktest.Response{Body: []string{"three,", "four"}}}),
		trap("ClearBodyFalse", script{"request_body": say(requestBody(&common{BodyMutation: clearingNot()}))}.processor(), both(sdktest.Buffered), sdktest.Request{Body: []string{"one body"}}),
	}
	for _, size := range []int{5, 12} {
		n := fmt.Sprintf("%d of 4 chunks", size)
		f := allowing(sdktest.None)
		f.BufferLimit = 65535
		r := patient(sdktest.Request{Pace: sdktest.Flow})
		for range size {
			r.Body = append(r.Body, strings.Repeat("x", 16<<10))
		}
		out = append(out, trap("BufferedByOverrideOverLimitHangs, "+n, script{
			"request_headers": slowly(200*time.Millisecond, say(overriding(requestHeaders(nil), everything(sdktest.Buffered, sdktest.None)))),
		}.processor(), f, r))
	}
	for _, m := range modes {
		out = append(out,
			trap("LargeBody, "+m.name, script{}.processor(), m.filter(), sdktest.Request{Body: []string{big}, Upstream: sdktest.Response{Body: []string{big}}}).loose("chunks are as large as reads"),
			trap("EmptyChunks, "+m.name, script{}.processor(), m.filter(), sdktest.Request{Body: []string{"", "one", "", "two", ""}}))
	}
	return out
}

// endTraps are about where a body ends.
func endTraps() []conform {
	trailed := sdktest.Request{Body: []string{"one,", "two"}, Trailer: trailing}
	early := script{"request_body": say(requestBody(chunkOf("all of it", true)))}
	return []conform{
		trap("EOSBeforeTrailersFDS", early.processor(), both(sdktest.FullDuplex), patient(sdktest.Request{Body: []string{"one"}, Trailer: trailing})),
		trap("EndTwiceFDS", script{"request_body": say(requestBody(chunkOf("one", true)), requestBody(chunkOf("two", true)))}.processor(),
			both(sdktest.FullDuplex), sdktest.Request{Body: []string{"x"}}).loose("the second end comes when all may be over"),
		trap("SynthesizedTrailersFDS", script{"request_body": say(requestBody(chunkOf("one", false)), requestTrailers(nil))}.processor(),
			both(sdktest.FullDuplex), patient(sdktest.Request{Body: []string{"x"}})),
		trap("SynthesizedTrailersFDS, with a mutation", script{"request_body": say(requestBody(chunkOf("one", false)), requestTrailers(setting("x-t", "1")))}.processor(),
			both(sdktest.FullDuplex), patient(sdktest.Request{Body: []string{"x"}})),
		trap("BufferedBodyWithoutEOS", script{}.processor(), both(sdktest.Buffered), trailed),
		trap("TransformTailWithTrailersStreamed", served(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Transform(upper)
			return x.Finish(ctx)
		})), both(sdktest.Streamed), trailed),
		trap("EarlyReturnFDS", served(sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { return nil })), both(sdktest.FullDuplex),
			sdktest.Request{Body: []string{"one,", "two,", "three"}, Upstream: sdktest.Response{Body: []string{"four,", "five"}}}),
		trap("OKCloseFDSDropsChunks", script{"request_body": quit(errClose)}.processor(), both(sdktest.FullDuplex), sdktest.Request{Body: []string{"one,", "two,", "three"}}).loose("chunks may be ahead of the close"),
		trap("EmptyEndAfterOverrideToFDS", script{"request_headers": say(overriding(requestHeaders(nil), everything(sdktest.FullDuplex, sdktest.None)))}.processor(),
			allowing(sdktest.None), sdktest.Request{Body: []string{"one"}, SeparateEnd: true, Pace: sdktest.Late}),
		trap("FDSOverrideFromNoneKeepsTheFirstChunk", script{"request_headers": say(overriding(requestHeaders(nil), everything(sdktest.FullDuplex, sdktest.FullDuplex)))}.processor(),
			allowing(sdktest.None), sdktest.Request{Body: []string{"one,", "two"}, Upstream: sdktest.Response{Echo: true}}),
	}
}

// orderTraps are about what comes before what.
func orderTraps() []conform {
	none := func(*incoming) ([]*outgoing, error) { return nil, nil }
	noWait := both(sdktest.Streamed)
	noWait.NoWait = true
	bodyFirst := script{"response_headers": none, "response_body": say(responseBody(&common{}), responseHeaders(nil))}
	lateRequest := script{"request_body": none, "response_headers": say(requestBody(chunkOf("answered", false)), responseHeaders(nil))}
	stashed := script{"response_headers": none}
	stashing := both(sdktest.Streamed)
	stashing.MessageTimeout = time.Second
	duplexStash := both(sdktest.FullDuplex)
	duplexStash.MessageTimeout = 200 * time.Millisecond
	return []conform{
		trap("ResponseBodyBeforeHeaderAnswer, FDS", bodyFirst.processor(), both(sdktest.FullDuplex), sdktest.Request{Upstream: sdktest.Response{Body: []string{"x"}}}).loose("the answer that comes too late"),
		trap("ResponseBodyBeforeHeaderAnswer, no-wait", bodyFirst.processor(), noWait, sdktest.Request{Upstream: sdktest.Response{Body: []string{"x"}}}).loose("the answer that comes too late"),
		trap("ResponseHeadersBeforeRequestEndFDS", lateRequest.processor(), both(sdktest.FullDuplex),
			sdktest.Request{Body: []string{"question", "more"}, Pace: sdktest.PingPong}).loose("both directions at once"),
		trap("StashedResponseHeadersTimeOut", stashed.processor(), stashing, sdktest.Request{Upstream: sdktest.Response{Body: []string{"x"}}}),
		trap("StashedResponseHeadersInFDS", script{"response_headers": slowly(500*time.Millisecond, say(responseHeaders(nil)))}.processor(), duplexStash,
			sdktest.Request{Upstream: sdktest.Response{Body: []string{"x"}}}),
		trap("BidiDeadlockBuffered", script{}.processor(), both(sdktest.Buffered), patient(sdktest.Request{Body: []string{"one,", "two"}, Pace: sdktest.Interleaved,
			Upstream: sdktest.Response{Early: true, Body: []string{"answer"}}})),
		trap("HeaderMutationInStreamedBodyAnswer, the body at once", mutating().processor(), both(sdktest.Streamed), sdktest.Request{Body: []string{"x"}}),
		trap("HeaderMutationInStreamedBodyAnswer, the body later", mutating().processor(), both(sdktest.Streamed), sdktest.Request{Body: []string{"x"}, Pace: sdktest.Late}),
		trap("OverrideIgnoredBodyAnswerSpurious", script{"request_headers": say(
			overriding(requestHeaders(nil), everything(sdktest.Streamed, sdktest.None)), requestBody(&common{}))}.processor(),
			sdktest.Filter{}, sdktest.Request{Body: []string{"x"}}).loose("the second message meets what the first has set going"),
		trap("EmptyMessageIsFatal", script{"request_headers": say(&outgoing{})}.processor(), sdktest.Filter{}, sdktest.Request{}),
		trap("AppendActionIgnored", script{"request_headers": say(requestHeaders(&common{HeaderMutation: ifAbsent("x-old", "new")}))}.processor(),
			sdktest.Filter{}, sdktest.Request{Header: http.Header{"X-Old": {"a"}}}),
	}
}

func mutating() script {
	return script{"request_body": say(requestBody(withHeaders(&common{}, "x-set", "yes")))}
}

// timeoutTraps are about the message timer.
func timeoutTraps() []conform {
	f := func(timeout, limit time.Duration) sdktest.Filter {
		f := both(sdktest.Buffered)
		f.MessageTimeout, f.MaxMessageTimeout = timeout, limit
		return f
	}
	extend := func(d time.Duration) *outgoing { return &outgoing{OverrideMessageTimeout: durationpb.New(d)} }
	then := func(pause time.Duration, first ...*outgoing) script {
		return script{"request_headers": say(first...), "request_body": nil}.paused(pause)
	}
	const short, long = time.Second, 10 * time.Second
	r := sdktest.Request{Body: []string{"x"}}
	return []conform{
		trap("TimerPerMessage", script{
			"request_headers": slowly(1200*time.Millisecond, say(requestHeaders(nil))), "request_body": slowly(1200*time.Millisecond, say(requestBody(&common{}))),
		}.processor(), f(2*time.Second, 0), r),
		trap("TimeoutExtended", then(2*time.Second, extend(long)).processor(), f(short, long), r),
		trap("TimeoutExtendedWithoutMax", then(2*time.Second, extend(long)).processor(), f(short, 0), r).loose("the answer comes when all is over"),
		trap("TimeoutExtendedOverMax", then(2*time.Second, extend(long)).processor(), f(short, 5*time.Second), r).loose("the answer comes when all is over"),
		trap("TimeoutExtendedTwice", then(3*time.Second, extend(short), extend(long)).processor(), f(short, long), r).loose("the answer comes when all is over"),
		trap("TimeoutExtendedByNothing", then(2*time.Second, extend(0)).processor(), f(short, long), r).loose("the answer comes when all is over"),
		trap("TimeoutExtensionVoidsTheRest", script{"request_headers": say(
			&outgoing{OverrideMessageTimeout: durationpb.New(long), Response: requestHeaders(withHeaders(&common{}, "x-lost", "yes")).GetResponse()},
			requestHeaders(nil))}.processor(), f(short*4, long), r),
	}
}

// paused sends the first answers at once, and the neutral one after a pause.
func (s script) paused(pause time.Duration) script {
	first := s["request_headers"]
	delete(s, "request_body")
	s["request_headers"] = func(m *incoming) ([]*outgoing, error) {
		out, err := first(m)
		return append(out, nil, &outgoing{OverrideMessageTimeout: durationpb.New(-pause)}, requestHeaders(nil)), err
	}
	return s
}

// localTraps are about responses that no upstream made, and filters that don't see all.
func localTraps() []conform {
	noRequest := sdktest.Filter{Mode: sdktest.Mode{RequestHeaders: sdktest.Off}}
	bodyOnly := both(sdktest.Streamed)
	bodyOnly.Mode.RequestHeaders, bodyOnly.Mode.ResponseHeaders = sdktest.Off, sdktest.Off
	attributes := both(sdktest.Streamed)
	attributes.RequestAttributes, attributes.ResponseAttributes = []string{"request.path", "request.method", "request.query"}, []string{"request.host"}
	watching := both(sdktest.Streamed)
	watching.Observability, watching.DeferredClose = true, 3*time.Second
	ignored := watching
	pass := served(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error { return x.Finish(ctx) }))
	r := sdktest.Request{Path: "/p?q=1", Body: []string{"one"}, Upstream: sdktest.Response{Body: []string{"two"}}}
	out := []conform{
		trap("LocalReplyFirst", script{"response_headers": say(responseHeaders(withHeaders(&common{}, "x-set", "yes")))}.processor(), noRequest, r),
		trap("LocalReplyFirst, by the SDK", pass, noRequest, r),
		trap("BodyFirst", script{}.processor(), bodyOnly, r),
		trap("BodyFirst, by the SDK", pass, bodyOnly, r),
		trap("UpstreamResets", script{}.processor(), both(sdktest.Streamed), sdktest.Request{Upstream: sdktest.Response{Status: -1}}),
		trap("UpstreamResets, by the SDK", served(after(0, func(_ *sdk.Exchange, r *sdk.Response) error {
			r.Header.Set("x-seen", strconv.Itoa(r.Status()))
			return nil
		})), sdktest.Recommended(), sdktest.Request{Upstream: sdktest.Response{Status: -1}}),
		trap("AttributesOncePerDirection", script{}.processor(), attributes, r),
		trap("ProtocolConfigAbsentObservability", script{}.processor(), watching, r),
		trap("ObservabilityAnswersIgnored", sdktest.Script(func(stream process) error {
			for {
				if _, err := stream.Recv(); err != nil {
					return err
				}
				if err := stream.Send(immediate(403, "no")); err != nil {
					return err
				}
			}
		}), ignored, r).loose("answers may come when all is over"),
	}
	for _, m := range modes[3:] {
		f := m.filter()
		f.Observability, f.DeferredClose = true, 3*time.Second
		if m.BodyMode != sdktest.FullDuplex { // which Envoy's configuration refuses
			out = append(out, trap("ObservabilityHasNoSuchBodies, "+m.name, script{}.processor(), f, r))
		}
	}
	for _, m := range modes {
		f := m.filter()
		for _, phase := range []string{"mid-body", "after the headers"} {
			gone := sdktest.Request{Body: []string{"one,", "two"}, Abort: true, Upstream: sdktest.Response{Hang: true}}
			if phase == "after the headers" {
				gone = sdktest.Request{Abort: true, Upstream: sdktest.Response{Hang: true}}
			}
			out = append(out, trap("ClientGone, "+m.name+", "+phase, script{}.processor(), f, patient(gone)).loose("the client goes when it goes"))
		}
	}
	return out
}

// statusTraps are about responses that have no body of their own.
func statusTraps() (out []conform) {
	for _, m := range modes {
		for _, c := range []struct {
			name string
			r    sdktest.Request
		}{
			{"NoContent", sdktest.Request{Upstream: sdktest.Response{Status: 204}}},
			{"NotModified", sdktest.Request{Upstream: sdktest.Response{Status: 304, Header: sized(99)}}},
			{"Head", sdktest.Request{Method: http.MethodHead, Upstream: sdktest.Response{Header: sized(99)}}},
			{"InterimResponse", sdktest.Request{Upstream: sdktest.Response{Interim: []int{103}, Body: []string{"ok"}}}},
			{"ResponseAborted", sdktest.Request{Upstream: sdktest.Response{Body: []string{"one"}, Abort: true}}},
		} {
			one := trap(c.name+", "+m.name, script{}.processor(), m.filter(), c.r)
			if c.name == "ResponseAborted" {
				one = one.loose("the abort meets what is on its way")
			}
			out = append(out, one)
		}
	}
	return out
}

// routeTraps are about routes, metadata and what is forwarded.
func routeTraps() []conform {
	clearing := func(r *common) *common { r.ClearRouteCache = true; return r }
	again := setting("x-reroute", "yes")
	head := func(c *common) any { return script{"request_headers": say(requestHeaders(c))}.processor() }
	r := sdktest.Request{Header: http.Header{"X-A": {"1"}, "X-B": {"2"}}, Body: []string{"x"}}
	disabled, routed := both(sdktest.Buffered), sdktest.Filter{Route: &sdktest.Override{Mode: new(sdktest.Bodies(sdktest.Streamed))}}
	disabled.Route = &sdktest.Override{Disabled: true}
	metadata := sdktest.Filter{MetadataOptions: sdktest.MetadataOptions{Receive: []string{"mine"}, Forward: []string{"theirs", "none"}}, Metadata: metadataOf("theirs", "user", "ann")}
	giving := requestHeaders(nil)
	giving.DynamicMetadata = structOf(map[string]any{"mine": map[string]any{"k": "v", "n": 1.0}, "other": map[string]any{"k": "v"}, "theirs": map[string]any{"k": "v"}})
	return []conform{
		trap("RerouteInTheSameAnswer", head(clearing(&common{HeaderMutation: again})), sdktest.Filter{}, r),
		trap("RerouteWithoutClearing", head(&common{HeaderMutation: again}), sdktest.Filter{}, r),
		trap("RerouteWithoutAMutation", head(clearing(&common{})), sdktest.Filter{}, sdktest.Request{}),
		trap("RouteCacheActionClear", head(&common{HeaderMutation: again}), sdktest.Filter{RouteCache: "CLEAR"}, r),
		trap("RouteCacheActionRetain", head(clearing(&common{HeaderMutation: again})), sdktest.Filter{RouteCache: "RETAIN"}, r),
		trap("RerouteInABodyAnswer, BUFFERED", script{"request_body": say(requestBody(clearing(&common{HeaderMutation: again})))}.processor(), both(sdktest.Buffered), r),
		trap("RerouteInABodyAnswer, STREAMED", script{"request_body": say(requestBody(clearing(&common{HeaderMutation: again})))}.processor(), both(sdktest.Streamed),
			sdktest.Request{Body: []string{"x"}, Pace: sdktest.Late}),
		trap("RouteDisabled", script{}.processor(), disabled, r),
		trap("RouteMode", script{}.processor(), routed, r),
		trap("Metadata", script{"request_headers": say(giving)}.processor(), metadata, r),
		trap("MetadataToNoNamespace", script{"request_headers": say(giving)}.processor(), sdktest.Filter{}, r),
		trap("AllowedHeaders", script{}.processor(), sdktest.Filter{AllowedHeaders: []string{":path", "x-a"}}, r),
		trap("DisallowedHeaders", script{}.processor(), sdktest.Filter{DisallowedHeaders: []string{"x-a", "x-forwarded-proto"}}, r),
	}
}

// replyTraps are about replies that don't end.
func replyTraps() []conform {
	begin := []*outgoing{streamedHeaders(false, ":status", "200"), streamedBody("one,", false)}
	closing := script{"request_headers": say(begin...)}
	half := sdktest.Script(func(stream process) error {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		for _, m := range begin {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		return nil
	})
	failing := sdktest.Script(func(stream process) error {
		if err := half(stream); err != nil {
			return err
		}
		return errBoom
	})
	held := script{
		"request_headers": say(overriding(&outgoing{}, everything(sdktest.FullDuplex, sdktest.None))),
		"request_body":    say(streamedHeaders(false, ":status", "200"), streamedBody("read it", true)),
	}
	return []conform{
		trap("StreamedReplyOKCloseHangs", half, both(sdktest.None), patient(sdktest.Request{})),
		trap("StreamedReplyErrorCloseEnds", failing, both(sdktest.None), patient(sdktest.Request{})).loose("the error meets the body"),
		trap("StreamedReplyWithoutEndHangs", closing.processor(), both(sdktest.None), patient(sdktest.Request{})),
		trap("StreamedReplyAfterAHeldBody", held.processor(), allowing(sdktest.None), sdktest.Request{Body: []string{"question"}}).loose("the parts follow at once"),
		trap("FailOpenFDSWithBody", script{"request_headers": quit(errBoom)}.processor(), failOpen(both(sdktest.FullDuplex)), sdktest.Request{Body: []string{"x"}}),
		trap("FailOpenFDSWithoutBody", script{"request_headers": quit(errBoom)}.processor(), failOpen(both(sdktest.FullDuplex)), sdktest.Request{}),
		trap("PanicOfAFunction", served(sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Transform(func(io.Writer, io.Reader) error { panic("boom") })
			return x.Finish(ctx)
		})), failOpen(both(sdktest.FullDuplex)), sdktest.Request{Body: []string{"x"}}),
	}
}

func failOpen(f sdktest.Filter) sdktest.Filter {
	f.FailureModeAllow = true
	return f
}
