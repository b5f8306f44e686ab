package sdktest

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// send sends the request.
func (s *session) send(ctx context.Context, to link.Sender) {
	r := s.request
	all := together(r.Pace, r.Body)
	if !all {
		s.tap.request.lift()
	}
	end := ends(r.Body, r.Trailer, r.SeparateEnd, r.Abort) && !r.Endless
	to.Headers(r.fields(), end)
	if !end {
		if r.Header.Get("Expect") != "" {
			s.await(ctx, s.client.asked)
		}
		if r.Pace == Late {
			s.awaitHandled(ctx, 1)
		}
		if n := len(r.Body); r.Pace == Interleaved && n > 0 {
			for _, chunk := range r.Body[:n-1] {
				to.Data([]byte(chunk), false)
			}
			r.Body = r.Body[n-1:]
			s.await(ctx, s.client.begun)
		}
		if r.Pace == PingPong {
			r.Body = s.sendOneByOne(ctx, to, r.Body)
		}
		sendBody(to, r.Body, r.Trailer, r.SeparateEnd, r.Abort, r.Endless)
	}
	if all {
		to.Sync()
		s.tap.request.lift()
	}
}

// sendOneByOne sends all chunks but the last, which it returns, and waits for the echo of each.
func (s *session) sendOneByOne(ctx context.Context, to link.Sender, body []string) (last []string) {
	n := 0
	for ; len(body) > 1; body = body[1:] {
		to.Data([]byte(body[0]), false)
		n += len(body[0])
		s.client.await(ctx, n)
	}
	return body
}

// await waits for what the client is to see, or for the end.
func (s *session) await(ctx context.Context, event <-chan struct{}) {
	select {
	case <-event:
	case <-s.client.ended:
	case <-ctx.Done():
	}
}

// awaitHandled waits until the proxy has taken in n answers.
func (s *session) awaitHandled(ctx context.Context, n uint64) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for s.proxy.handled() < n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-s.client.ended:
			return
		}
	}
}

// together reports whether the message is to be in the proxy before it is answered.
func together(p Pace, body []string) bool {
	return p == Together && size(body) <= togetherLimit
}

// size is how many bytes a body has.
func size(body []string) (n int) {
	for _, chunk := range body {
		n += len(chunk)
	}
	return n
}

// counted counts what a proxy has taken in.
type counted struct {
	link.Sender
	bytes *atomic.Int64
}

func (c counted) Data(p []byte, end bool) {
	c.Sender.Data(p, end)
	c.bytes.Add(int64(len(p)))
}

// counting has n, which may be nil, count from 0 what goes to to.
func counting(to link.Sender, n *atomic.Int64) link.Sender {
	if n == nil {
		return to
	}
	n.Store(0)
	return counted{to, n}
}

// sendBody sends what follows the headers.
func sendBody(to link.Sender, body []string, trailer http.Header, separateEnd, abort, endless bool) {
	for i, chunk := range body {
		last := i == len(body)-1 && len(trailer) == 0 && !separateEnd && !abort && !endless
		to.Data([]byte(chunk), last)
	}
	switch {
	case abort:
		to.Sync() // what was sent counts
		to.Reset()
	case len(trailer) > 0:
		to.Trailers(lines(trailer))
	case separateEnd:
		to.Data(nil, true)
	}
}

// ends reports whether the headers are all.
func ends(body []string, trailer http.Header, separateEnd, abort bool) bool {
	return len(body) == 0 && len(trailer) == 0 && !separateEnd && !abort
}
