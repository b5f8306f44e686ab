package emulate

import (
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// entry is where a message comes into the proxy.
type entry struct {
	s       *shared
	request bool
	try     int // of the response
}

// put hands an event to the exchange, unless it is of a try that is over.
func (n *entry) put(event func()) {
	n.s.inbox.put(func() {
		if n.current() {
			event()
		}
	})
}

func (n *entry) current() bool { return n.request || n.try == n.s.try }

func (n *entry) Headers(h []link.Field, end bool) {
	n.put(func() {
		if n.request {
			n.s.requestHeaders(h, end)
		} else {
			n.s.responseHeaders(h, end)
		}
	})
}

func (n *entry) Data(p []byte, end bool) {
	if len(p) == 0 && !end {
		return // the codec takes no notice of it
	}
	at := n.s.passage(n.request)
	at.window.take(len(p))
	n.take(func() {
		at.window.give(len(p))
		if n.current() && n.open() {
			at.whole, at.ended = end, end
			at.size += len(p)
			n.s.entrance(n.request).Data(p, end)
		}
	})
}

// take handles an event of the message, or keeps it as long as the chain is full: Envoy doesn't read on.
func (n *entry) take(event func()) {
	n.s.inbox.put(func() {
		p := n.s.passage(n.request)
		if n.s.full(p) || len(p.backlog) > 0 {
			p.backlog = append(p.backlog, event)
			return
		}
		event()
	})
}

func (n *entry) Trailers(h []link.Field) {
	n.take(func() {
		if n.current() && n.open() {
			p := n.s.passage(n.request)
			p.whole, p.ended, p.trailed = true, true, true
			p.trailers = append([]link.Field{}, h...)
			n.s.entrance(n.request).Trailers(p.trailers)
		}
	})
}

func (n *entry) Reset() {
	n.put(func() {
		if n.s.over {
			return
		}
		if n.request {
			n.s.details = "http2.remote_reset" // the client has gone
			if n.s.cfg.HTTP1 {
				n.s.details = "downstream_remote_disconnect"
			}
			n.s.destroy()
			return
		}
		n.s.upstreamReset()
	})
}

// Sync returns when everything before it was handled.
func (n *entry) Sync() {
	done := make(chan struct{})
	if !n.s.inbox.put(func() { close(done) }) {
		return
	}
	select {
	case <-done:
	case <-n.s.done:
	}
}

// open reports whether frames of the direction still mean something.
func (n *entry) open() bool {
	switch {
	case n.s.over, n.s.passage(n.request).whole:
		return false
	case n.request:
		return !n.s.localReply
	}
	return !n.s.localReply && !n.s.upstreamClosed
}

func (s *shared) requestHeaders(h []link.Field, end bool) {
	s.method, _ = link.Get(h, ":method")
	if t, _ := link.Get(h, "content-type"); t == "application/grpc" || strings.HasPrefix(t, "application/grpc+") {
		s.grpcRequest = true
	}
	s.up.whole, s.up.ended = end, end
	s.up.fields = append(append([]link.Field{}, h...), link.Field{Name: "x-forwarded-proto", Value: "http"})
	s.up.fields = s.fromClient(s.up.fields)
	s.entrance(true).Headers(s.up.fields, end)
}

func (s *shared) responseHeaders(h []link.Field, end bool) {
	if s.over || s.localReply || s.upstreamClosed {
		return
	}
	if text, _ := link.Get(h, ":status"); len(text) == 3 && text[0] == '1' && text != "101" {
		return // Envoy has no place for informational responses
	} else if len(text) == 3 && text[0] == '5' && s.tryAgain(end) {
		return
	}
	s.down.whole, s.down.ended = end, end
	s.down.fields = s.fromUpstream(append([]link.Field{}, h...))
	s.details = "via_upstream"
	s.entrance(false).Headers(s.down.fields, end)
}

// upstreamReset is what the router makes of an upstream that breaks off.
func (s *shared) upstreamReset() {
	if s.localReply || s.upstreamClosed || s.down.fields == nil && s.tryAgain(true) {
		return
	}
	s.upstreamClosed = true
	if s.cfg.HTTP1 && s.upgrade {
		s.upstream.Reset() // which has but ended what it sends
	}
	code, reason := s.brokenOff()
	text := "upstream connect error or disconnect/reset before headers. reset reason: " + reason
	reason = strings.ReplaceAll(reason, " ", "_")
	if s.down.fields != nil {
		s.reply(localReply{code: code, body: text, details: "upstream_reset_after_response_started{" + reason + "}"}, nil)
		return
	}
	s.details = "upstream_reset_before_response_started{" + reason + "}"
	s.viaFilters([]link.Field{
		{Name: ":status", Value: strconv.Itoa(code)},
		{Name: "content-length", Value: strconv.Itoa(len(text))},
		{Name: "content-type", Value: "text/plain"},
	}, text)
}

// viaFilters sends a response that the proxy makes itself through all filters.
func (s *shared) viaFilters(h []link.Field, body string) {
	p := &s.down
	p.fields, p.whole, p.ended = h, true, body == ""
	s.entrance(false).Headers(h, body == "")
	if body != "" && !s.over {
		p.ended = true
		s.entrance(false).Data([]byte(body), true)
	}
}
