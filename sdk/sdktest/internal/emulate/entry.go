package emulate

import (
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// entry is where a message comes into the proxy.
type entry struct {
	e *Emulator
	d *direction
}

func (n *entry) Headers(h []link.Field, end bool) {
	n.e.inbox.put(func() {
		switch {
		case n.d.request:
			n.e.requestHeaders(h, end)
		default:
			n.e.responseHeaders(h, end)
		}
	})
}

func (n *entry) Data(p []byte, end bool) {
	if len(p) == 0 && !end {
		return // the codec takes no notice of it
	}
	n.take(func() {
		if n.open() {
			n.d.ended = n.d.ended || end
			n.d.data(p, end)
		}
	})
}

// take handles an event of the message, or keeps it as long as the filter is full: Envoy doesn't read on.
func (n *entry) take(event func()) {
	n.e.inbox.put(func() {
		if n.d.full() || len(n.d.backlog) > 0 {
			n.d.backlog = append(n.d.backlog, event)
			return
		}
		event()
	})
}

func (n *entry) Trailers(h []link.Field) {
	n.take(func() {
		if n.open() {
			n.d.ended = true
			n.d.trailersIn(h)
		}
	})
}

func (n *entry) Reset() {
	n.e.inbox.put(func() {
		if n.e.over {
			return
		}
		if n.d.request {
			n.e.details = "http2.remote_reset" // the client has gone
			n.e.destroy()
			return
		}
		n.e.upstreamReset()
	})
}

// Sync returns when everything before it was handled.
func (n *entry) Sync() {
	done := make(chan struct{})
	if !n.e.inbox.put(func() { close(done) }) {
		return
	}
	select {
	case <-done:
	case <-n.e.done:
	}
}

// open reports whether frames of the direction still mean something.
func (n *entry) open() bool {
	switch {
	case n.e.over, n.d.ended:
		return false
	case n.d.request:
		return !n.e.localReply
	}
	return !n.e.localReply && !n.e.upstreamClosed
}

func (e *Emulator) requestHeaders(h []link.Field, end bool) {
	e.method, _ = link.Get(h, ":method")
	if t, _ := link.Get(h, "content-type"); t == "application/grpc" || strings.HasPrefix(t, "application/grpc+") {
		e.grpcRequest = true
	}
	d := &e.request
	d.ended = end
	d.fields = append(append([]link.Field{}, h...), link.Field{Name: "x-forwarded-proto", Value: "http"})
	d.headersIn(end)
}

func (e *Emulator) responseHeaders(h []link.Field, end bool) {
	if e.over || e.localReply || e.upstreamClosed {
		return
	}
	if text, _ := link.Get(h, ":status"); len(text) == 3 && text[0] == '1' {
		return // Envoy has no place for informational responses
	}
	d := &e.response
	d.ended = end
	d.fields = append([]link.Field{}, h...)
	e.details = "via_upstream"
	d.headersIn(end)
}

// upstreamReset is what the router makes of an upstream that breaks off.
func (e *Emulator) upstreamReset() {
	if e.localReply || e.upstreamClosed {
		return
	}
	e.upstreamClosed = true
	const text = "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
	if e.response.fields != nil {
		e.reply(localReply{code: 503, body: text, details: "upstream_reset_after_response_started{remote_reset}"})
		return
	}
	e.details = "upstream_reset_before_response_started{remote_reset}"
	d := &e.response
	d.ended = true
	d.fields = []link.Field{
		{Name: ":status", Value: "503"},
		{Name: "content-length", Value: strconv.Itoa(len(text))},
		{Name: "content-type", Value: "text/plain"},
	}
	d.headersIn(false)
	if !e.over && !e.localReply {
		d.data([]byte(text), true)
	}
}

// abort ends the exchange without completing the response.
func (e *Emulator) abort() {
	e.cfg.Client.Reset()
	e.destroy()
}
