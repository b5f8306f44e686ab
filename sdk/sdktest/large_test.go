package sdktest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

const mebibyte = 1 << 20

// largeBodies is the group of cases with an Envoy of their own: what they have under way stops Envoy from
// reading of others that share a connection to the upstream or the processor.
const largeBodies = "Large bodies"

// bulk is a body of n bytes in chunks, each of which differs from the others.
func bulk(n int) (chunks []string) {
	const size = 64 << 10
	source := make([]byte, mebibyte)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(source)
	text := string(source)
	for at := 0; n > 0; n -= size {
		chunks = append(chunks, text[at:at+min(size, n)])
		at = (at + 4099) % (len(text) - size)
	}
	return chunks
}

// largeCases are bodies of many MiB, and calls that go back and forth.
func largeCases() (all []conform) {
	body := bulk(64 * mebibyte)
	for _, m := range modes {
		f, chunks := m.filter(), body
		if m.BodyMode == sdktest.Buffered {
			f.BufferLimit, chunks = 40*mebibyte, body[:len(body)/2] // one message, and gRPC's frames have a length of 32 bits
		}
		all = append(all, conform{group: largeBodies, name: fmt.Sprintf("%d MiB up and down, %s", len(chunks)*64>>10, m.name),
			processor: script{}.processor(), filter: f,
			request: sdktest.Request{Body: chunks, Digest: true, Pace: sdktest.Flow, Upstream: sdktest.Response{Body: chunks, Pace: sdktest.Flow}},
		}.loose("chunks are as large as reads"))
	}
	return append(all, stalledCases(body)...)
}

// stalledCases: a processor that takes nothing in holds back whoever sends: what is under way then fits
// buffers and windows, however much is offered, and all of it arrives in the end.
func stalledCases(body []string) (all []conform) {
	for _, m := range []mode{modes[1], modes[2], modes[5]} {
		for _, s := range sides {
			var taken atomic.Int64
			r := sdktest.Request{Body: body, Digest: true, Pace: sdktest.Flow, Sent: &taken}
			if s.name == "response" {
				r = sdktest.Request{Digest: true, Answered: &taken, Upstream: sdktest.Response{Body: body, Pace: sdktest.Flow}}
			}
			stalled := script{s.bodyKind: func(first *incoming) ([]*outgoing, error) {
				if n := atRest(&taken); n > 8*mebibyte {
					return nil, fmt.Errorf("%d bytes are under way", n)
				}
				return []*outgoing{neutral(first, modesOf(m))}, nil
			}}
			all = append(all, conform{group: largeBodies, name: "a stalled processor holds back 64 MiB, " + m.name + ", " + s.name,
				processor: stalled.processor(), filter: m.filter(), request: r}.loose("chunks are as large as reads"))
		}
	}
	return all
}

// atRest waits until n doesn't grow any more.
func atRest(n *atomic.Int64) int64 {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	last, still := int64(0), 0
	for still < 10 {
		<-tick.C
		if now := n.Load(); now == last && now > 0 {
			still++
		} else {
			last, still = now, 0
		}
	}
	return last
}

// callCases are gRPC calls, unary and in both directions at once.
func callCases() (all []conform) {
	h := http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	ok := sdktest.Response{Header: http.Header{"Content-Type": {"application/grpc"}}, Trailer: http.Header{"Grpc-Status": {"0"}}}
	const message = "\x00\x00\x00\x00\x04ping"
	for _, m := range modes {
		unary := sdktest.Request{Method: http.MethodPost, Header: h, Body: []string{message}, Upstream: ok}
		unary.Upstream.Body = []string{message}
		both := sdktest.Request{Method: http.MethodPost, Header: h, Body: []string{message, message, message}, Pace: sdktest.PingPong, Upstream: ok}
		name := "gRPC, a question with each answer, "
		if m.BodyMode == sdktest.Buffered || m.BodyMode == sdktest.BufferedPartial {
			both, name = patient(both), "BidiDeadlockBuffered: "+name
		}
		all = append(all,
			conform{group: "Calls", name: "gRPC, unary, " + m.name, processor: script{}.processor(), filter: m.filter(), request: unary},
			conform{group: "Calls", name: name + m.name, processor: script{}.processor(), filter: m.filter(), request: both}.loose("both directions at once"))
	}
	return all
}

// coldCases: the time that connecting takes is the first message's.
func coldCases() (all []conform) {
	for _, c := range []struct {
		name          string
		cold, timeout time.Duration
	}{
		{"the server accepts late", 300 * time.Millisecond, sdktest.DefaultTimeout},
		{"the server accepts when Envoy's default timeout has passed", time.Hour, 200 * time.Millisecond},
	} {
		for _, allow := range []bool{false, true} {
			for _, m := range []mode{modes[0], modes[3], modes[5]} {
				if c.cold == time.Hour && m.BodyMode == sdktest.FullDuplex {
					continue // whose messages have no timer
				}
				f := m.filter()
				f.Cold, f.MessageTimeout, f.FailureModeAllow = c.cold, c.timeout, allow
				name := c.name + ", " + m.name
				if allow {
					name += ", failure_mode_allow"
				}
				all = append(all, conform{group: "Connecting", name: name, processor: script{}.processor(), filter: f,
					request: sdktest.Request{Body: []string{"one body"}}})
			}
		}
	}
	return all
}
