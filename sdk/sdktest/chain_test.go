package sdktest_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// twoFilters is the group of cases with two filters.
const twoFilters = "Two filters"

// chainCases: two filters of ext_proc in one chain, each with a processor of its own.
func chainCases() (all []conform) {
	for _, outer := range modes {
		for _, inner := range modes {
			for _, c := range []content{contents()[1], contents()[2]} {
				for _, edit := range []string{"nobody", "both"} {
					f := outer.filter()
					f.Inner = &sdktest.Inner{Processor: marking(inner, "inner", edit), Filter: inner.filter()}
					r := c.request(sdktest.Together)
					r.Upstream = c.response(sdktest.Together)
					all = append(all, conform{
						group: twoFilters, name: fmt.Sprintf("%s, then %s, %s, edited by %s", outer.name, inner.name, c.name, edit),
						processor: marking(outer, "outer", edit), filter: f, request: r, racy: "two processors answer at the same time",
					})
				}
			}
		}
	}
	return append(append(all, lateCases()...), innerReplies()...)
}

// lateCases: when the second filter answers its headers decides whether Envoy keeps the body that the first
// has (envoyproxy/envoy#41654, #43983).
func lateCases() (all []conform) {
	for _, s := range sides {
		for _, first := range []mode{modes[1], modes[2], modes[5]} {
			for _, second := range []mode{modes[0], modes[1], modes[3], modes[5]} {
				chunks, trailers := contents()[2], contents()[4]
				all = append(all,
					late(s, first, second, chunks, "while the first has the body", 800*time.Millisecond, 300*time.Millisecond),
					late(s, first, second, trailers, "while the first has the body", 800*time.Millisecond, 300*time.Millisecond),
					late(s, first, second, chunks, "when the first is done", 0, 600*time.Millisecond),
				)
			}
		}
	}
	return all
}

// late is a case in which one direction passes first and then second: second answers the headers at a time
// when first has the body, or had it. first takes its time with the body, second with the headers.
func late(s side, first, second mode, c content, when string, body, headers time.Duration) conform {
	slow := func(m mode, kind string, pause time.Duration) sdktest.Script {
		config := extprocfilterv3.ProcessingMode_BodySendMode(m.BodyMode)
		return script{kind: slowly(pause, func(in *incoming) ([]*outgoing, error) {
			return []*outgoing{neutral(in, &extprocv3.ProtocolConfiguration{RequestBodyMode: config, ResponseBodyMode: config})}, nil
		})}.processor()
	}
	before, behind := slow(first, s.bodyKind, body), slow(second, s.headerKind, headers)
	f, processor := first.filter(), before
	f.Inner = &sdktest.Inner{Processor: behind, Filter: second.filter()}
	if s.name == "response" { // which passes the inner filter first
		f, processor = second.filter(), behind
		f.Inner = &sdktest.Inner{Processor: before, Filter: first.filter()}
	}
	return conform{
		group:     "Two filters, one of them late",
		name:      fmt.Sprintf("%s: %s, then %s, %s, which answers its headers %s", s.name, first.name, second.name, c.name, when),
		processor: processor, filter: f, request: patiently(with(s.name, c, sdktest.Late)),
		racy: "two processors answer at the same time",
	}
}

// innerReplies: one of two filters answers, or fails. A reply before any response goes through both, also
// through one that hasn't seen the request.
func innerReplies() (all []conform) {
	marks := script{"response_headers": say(responseHeaders(withHeaders(&common{}, "+x-passed", "the other")))}
	begin := []*outgoing{streamedHeaders(false, ":status", "202"), streamedBody("one,", false), streamedBody("two", true)}
	never := func(*incoming) ([]*outgoing, error) { return nil, nil }
	for _, who := range []string{"outer", "inner"} {
		for _, m := range []mode{modes[0], modes[3], modes[5]} {
			for _, what := range []struct {
				name string
				s    script
			}{
				{"denies a request", script{"request_headers": say(immediate(403, "no"))}},
				{"denies a body", script{"request_body": say(immediate(403, "no"))}},
				{"denies a response", script{"response_headers": say(immediate(403, "no"))}},
				{"replies in parts", script{"request_headers": say(begin...)}},
				{"fails", script{"request_headers": quit(errBoom)}},
				{"fails with the response", script{"response_headers": quit(errBoom)}},
				{"closes", script{"request_headers": quit(errClose)}},
				{"has no answer", script{"request_headers": never}},
			} {
				f, outer, inner := m.filter(), what.s, marks
				if who == "inner" {
					outer, inner = marks, what.s
				}
				f.MessageTimeout = time.Second
				f.Inner = &sdktest.Inner{Processor: inner.processor(), Filter: m.filter()}
				f.Inner.Filter.MessageTimeout = time.Second
				r := sdktest.Request{Body: []string{"question"}, Upstream: sdktest.Response{Body: []string{"answer"}}}
				if what.name == "has no answer" && m.BodyMode == sdktest.FullDuplex {
					r = patient(r) // no timer runs
				}
				all = append(all, conform{
					group: "Two filters, one of which answers", name: fmt.Sprintf("the %s %s, %s", who, what.name, m.name),
					processor: outer.processor(), filter: f, request: r, racy: "two processors answer at the same time",
				})
			}
		}
	}
	return all
}

// codecCases: a decompressor or a compressor of Envoy's beside the filter.
func codecCases() (all []conform) {
	const plain = "a body that is long enough to be worth the trouble of compressing it"
	text := func(encoded bool) http.Header {
		h := http.Header{"Content-Type": {"text/plain"}, "Content-Length": {strconv.Itoa(len(plain))}}
		if encoded {
			h["Content-Encoding"], h["Content-Length"] = []string{"gzip"}, []string{strconv.Itoa(len(gzipped(plain)))}
		}
		return h
	}
	add := func(name string, m mode, f func(*sdktest.Filter), c conform) {
		c.filter = m.filter()
		f(&c.filter)
		c.group, c.name = "Codecs", name+", "+m.name
		if c.processor == nil {
			c.processor = script{}.processor()
		}
		all = append(all, c)
	}
	outside := func(c sdktest.Codec) func(*sdktest.Filter) { return func(f *sdktest.Filter) { f.Outside = c } }
	inside := func(c sdktest.Codec) func(*sdktest.Filter) { return func(f *sdktest.Filter) { f.Inside = c } }
	for _, m := range modes {
		later := sdktest.Request{Upstream: sdktest.Response{Header: text(true), Body: []string{gzipped(plain)}, Pace: sdktest.Late}}
		encoded := sdktest.Request{Upstream: sdktest.Response{Header: text(true), Body: []string{gzipped(plain)}}}
		upload := sdktest.Request{Header: text(true), Body: []string{gzipped(plain)}}
		add("decompressor behind: the response comes decompressed", m, inside(sdktest.Decompressor), conform{request: patient(encoded)})
		add("decompressor behind: the response comes decompressed, later", m, inside(sdktest.Decompressor), conform{request: patient(later)})
		add("decompressor before: the response comes compressed", m, outside(sdktest.Decompressor), conform{request: encoded})
		add("decompressor before: the request comes decompressed", m, outside(sdktest.Decompressor), conform{request: upload})
		add("decompressor behind: the request comes compressed", m, inside(sdktest.Decompressor), conform{request: upload})
		offering := sdktest.Request{Header: http.Header{"Accept-Encoding": {"gzip"}}, Upstream: sdktest.Response{Header: text(false), Body: []string{plain}}}
		const differ = "the two compress differently"
		add("compressor behind: the response comes compressed", m, inside(sdktest.Compressor), conform{request: offering, racy: differ})
		add("compressor before: the response comes plain", m, outside(sdktest.Compressor), conform{request: offering})
		add("compressor before, and the body is replaced", m, outside(sdktest.Compressor), conform{request: offering, processor: script{
			"response_headers": say(responseHeaders(withHeaders(replacing(wholeOf("another body, which is also rather long")), "-content-length", ""))),
		}.processor(), racy: racyReplacement(m, contents()[1])})
	}
	return all
}

// marking is a processor that changes nothing, or adds a header and changes each part of a body.
func marking(m mode, name, edit string) sdktest.Script {
	if edit != name && edit != "both" {
		return script{}.processor()
	}
	return eachTime{
		"request_headers":  requestHeaders(withHeaders(&common{}, "+x-passed", name, "-content-length", "")),
		"response_headers": responseHeaders(withHeaders(&common{}, "+x-passed", name, "-content-length", "")),
	}.processor(m, name)
}

// gzipped is text in gzip.
func gzipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return out.String()
}

func patiently(r sdktest.Request) sdktest.Request {
	r.Patience = 3 * time.Second
	return r
}

// bodyCases are bodies that are large, and have trailers.
func bodyCases() (all []conform) {
	big := strings.Repeat("0123456789abcdef", 4<<10) // 64 KiB
	for _, m := range modes {
		all = append(all, trap("LargeBodyWithTrailers, "+m.name, script{}.processor(), m.filter(), sdktest.Request{
			Body: []string{big, big}, Trailer: trailing, Upstream: sdktest.Response{Body: []string{big, big}, Trailer: trailing},
		}).loose("chunks are as large as reads"))
	}
	mapped := sdktest.Filter{
		RequestAttributes:       []string{"request.method"},
		MappedRequestAttributes: map[string]string{"where": "request.path", "who": "request.useragent", "none": "request.referer"},
	}
	byRoute := sdktest.Filter{RequestAttributes: []string{"request.method"}, Route: &sdktest.Override{MappedRequestAttributes: mapped.MappedRequestAttributes}}
	r := sdktest.Request{Path: "/p", Header: http.Header{"User-Agent": {"test"}}}
	for _, p := range []struct {
		name string
		sdktest.Filter
	}{{"mapped", mapped}, {"mapped by the route", byRoute}} {
		all = append(all, conform{group: "Attributes", name: p.name, processor: script{}.processor(), filter: p.Filter, request: r})
	}
	return all
}
