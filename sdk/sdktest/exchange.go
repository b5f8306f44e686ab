package sdktest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// Pace is when a body goes to the proxy, as seen from the answer to the headers before it.
type Pace uint8

const (
	// Together is the default: the proxy has the whole message before the processor's first answer in that
	// direction reaches it. Bodies of more than 32 KiB, which may be more than the proxy takes in, go as Flow.
	Together Pace = iota
	// Late is once the proxy has taken in the answer to the headers. Where none comes before the body, it hangs.
	Late
	// Flow is as fast as it goes, which is a race as in life.
	Flow
	// Interleaved keeps the request's last chunk, and its end, until the response has begun; and a response's end
	// until the client has all before it.
	Interleaved
	// PingPong of a request has each chunk wait until the client has the echo of the one before: the upstream
	// answers early, and with each chunk that it gets.
	PingPong
)

// Request is a request, and what the upstream makes of it.
type Request struct {
	// Method is GET or, with a body, POST; Path is "/"; Authority is "test.example".
	Method, Path, Authority string
	// Header are the header lines; a name's values keep their order. No content-length is added. With "Expect" the
	// body waits until the proxy has said anything.
	Header http.Header
	// Body are the chunks of the body; none is no body. An empty chunk is an empty DATA frame.
	Body []string
	// Trailer are the trailers, empty for none.
	Trailer http.Header
	// SeparateEnd has the end come by itself, in an empty frame.
	SeparateEnd bool
	Pace        Pace
	// Endless is a request that has no end, as after an upgrade: the client goes when the response has ended. With
	// Pace Interleaved its last chunk comes when the response has begun.
	Endless bool
	// Abort has the client go away in place of the request's end.
	Abort bool
	// Patience is how long the client waits while nothing happens before it goes away; zero is ten seconds.
	Patience time.Duration
	// Digest has the result give length and CRC-32C of bodies in their place, and not what the processor's
	// messages had in them: for bodies of many MiB.
	Digest bool
	// Sent and Answered, if not nil, count the bytes of the request's and the response's body that the proxy has
	// taken in so far.
	Sent, Answered *atomic.Int64
	// Upstream is what answers; Tries is what answered the tries before.
	Upstream Response
	Tries    []Response
}

// Response is an upstream's response. The zero Response is 200 without a body.
type Response struct {
	// Interim are the statuses of informational responses that precede it.
	Interim []int
	Status  int
	Header  http.Header
	Body    []string
	Trailer http.Header
	// SeparateEnd has the end come by itself, in an empty frame.
	SeparateEnd bool
	Pace        Pace
	// Early answers as soon as the request's headers are there, else it is complete.
	Early bool
	// Abort has the upstream reset the stream in place of the response's end; with status -1 in place of all.
	Abort bool
	// Echo answers with the body that came, in one chunk, in place of Body. An Endless one has come when all that
	// the client sends has.
	Echo bool
	// Hang never answers.
	Hang bool
}

const (
	defaultPatience = 10 * time.Second
	// togetherLimit is what any proxy takes in without having forwarded any of it.
	togetherLimit = 32 << 10
)

func (r Request) fields() []link.Field {
	method := r.Method
	if method == "" {
		method = http.MethodGet
		if len(r.Body) > 0 {
			method = http.MethodPost
		}
	}
	out := []link.Field{{Name: ":method", Value: method}}
	protocol := r.Header.Get(":protocol") // of extended CONNECT (RFC 8441)
	if method != http.MethodConnect || protocol != "" {
		out = append(out, link.Field{Name: ":path", Value: orElse(r.Path, "/")}, link.Field{Name: ":scheme", Value: "http"})
	}
	if protocol != "" {
		out = append(out, link.Field{Name: ":protocol", Value: protocol})
	}
	out = append(out, link.Field{Name: ":authority", Value: orElse(r.Authority, "test.example")})
	for _, f := range lines(r.Header) {
		if f.Name != ":protocol" {
			out = append(out, f)
		}
	}
	return out
}

func (r Response) fields() []link.Field {
	status := r.Status
	if status == 0 {
		status = http.StatusOK
	}
	return append([]link.Field{{Name: ":status", Value: strconv.Itoa(status)}}, lines(r.Header)...)
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func lines(h http.Header) (out []link.Field) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			out = append(out, link.Field{Name: strings.ToLower(name), Value: value})
		}
	}
	return out
}
