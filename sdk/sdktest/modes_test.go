package sdktest_test

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// mode is a body mode, with or without waiting for the headers' answer.
type mode struct {
	name string
	sdktest.BodyMode
	noWait bool
}

var modes = []mode{
	{"NONE", sdktest.None, false},
	{"STREAMED", sdktest.Streamed, false},
	{"STREAMED no-wait", sdktest.Streamed, true},
	{"BUFFERED", sdktest.Buffered, false},
	{"BUFFERED_PARTIAL", sdktest.BufferedPartial, false},
	{"FULL_DUPLEX_STREAMED", sdktest.FullDuplex, false},
}

func (m mode) filter() sdktest.Filter {
	return sdktest.Filter{Mode: sdktest.Bodies(m.BodyMode), NoWait: m.noWait}
}

// content is one kind of body, in either direction.
type content struct {
	name    string
	chunks  []string
	header  http.Header
	trailer http.Header
	apart   bool
}

func sized(n int) http.Header { return http.Header{"Content-Length": {strconv.Itoa(n)}} }

var trailing = http.Header{"X-Trailer": {"yes"}}

func contents() []content {
	return []content{
		{name: "no body"},
		{name: "sized", chunks: []string{"one body"}, header: sized(8)},
		{name: "chunks", chunks: []string{"one,", "two,", "three"}},
		{name: "end apart", chunks: []string{"one,", "two"}, apart: true},
		{name: "trailers", chunks: []string{"one,", "two"}, trailer: trailing},
		{name: "only trailers", trailer: trailing},
		{name: "empty", apart: true},
		{name: "length 0", header: sized(0)},
	}
}

func (c content) request(pace sdktest.Pace) sdktest.Request {
	method := http.MethodPost
	if c.name == "no body" {
		method = http.MethodGet
	}
	return sdktest.Request{Method: method, Header: c.header, Body: c.chunks, Trailer: c.trailer, SeparateEnd: c.apart, Pace: pace}
}

func (c content) response(pace sdktest.Pace) sdktest.Response {
	return sdktest.Response{Header: c.header, Body: c.chunks, Trailer: c.trailer, SeparateEnd: c.apart, Pace: pace}
}

// modeCases: a processor that changes nothing, in all modes, with all kinds of bodies, in both directions.
func modeCases() (all []conform) {
	for _, m := range modes {
		for _, c := range contents() {
			for _, pace := range []sdktest.Pace{sdktest.Together, sdktest.Late} {
				for _, withTrailers := range []bool{true, false} {
					if !withTrailers && (c.trailer == nil || m.BodyMode == sdktest.FullDuplex) {
						continue
					}
					f := m.filter()
					name := fmt.Sprintf("%s, %s, %s", m.name, c.name, []string{"at once", "after the headers' answer"}[pace])
					if !withTrailers {
						f.Mode.RequestTrailers, f.Mode.ResponseTrailers = sdktest.Off, sdktest.Off
						name += ", trailers SKIP"
					}
					r := c.request(pace)
					r.Upstream = c.response(pace)
					all = append(all, conform{
						group: "Nothing is changed", name: name, processor: script{}.processor(), filter: f, request: r,
					})
				}
			}
		}
	}
	return all
}
