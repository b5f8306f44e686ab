package sdktest

import (
	"compress/gzip"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// Result is how an exchange went.
type Result struct {
	// Upstream is the request that reached the upstream, nil if none did.
	Upstream *Message
	// Tries are the requests of tries before that one.
	Tries []*Message
	// Client is the response that the client saw. Its Status is 0 if none began.
	Client *Message
	// Counters are the filter's statistics by Envoy's names, such as "spurious_msgs_received"; those that are 0
	// are absent.
	Counters map[string]uint64
	// Metadata is the exchange's dynamic metadata as it was at the end, by namespace.
	Metadata map[string]*structpb.Struct
	// Details is %RESPONSE_CODE_DETAILS%: why the response is what it is.
	Details string
	// Rerouted says that the request took another route than its first: one for requests with x-reroute: yes,
	// which is chosen if that header is there when the route is chosen again (clear_route_cache).
	Rerouted bool
	// Inner is how it went for the inner filter, nil if there is none.
	Inner *InnerResult
	// Stream are the messages between filter and processor in the order in which the processor's server saw
	// them: "> request_headers", "< request_headers".
	Stream []string

	frames      []frame
	description string // of the filter, to its processor
}

// An Ending is how a message ended.
type Ending string

const (
	// Complete is a message that came whole.
	Complete Ending = "complete"
	// Reset is one that broke off.
	Reset Ending = "reset"
	// Hanging is one that hadn't ended when the client's patience had.
	Hanging Ending = "hanging"
	// Malformed is one whose body isn't as long as its content-length says.
	Malformed Ending = "malformed"
)

// Message is an HTTP message as one end of the exchange saw it.
type Message struct {
	// Method, Scheme, Authority and Path are a request's.
	Method, Scheme, Authority, Path string
	// Interim and Status are a response's.
	Interim []int
	Status  int
	// Header has the header lines without those that proxies add of themselves: x-forwarded-proto,
	// x-request-id, date, server, x-envoy-*, whoever set them. A processor that sets one of these is tested
	// with another name.
	Header  http.Header
	Body    string
	Trailer http.Header
	End     Ending
}

// String shows a result in a few lines, the same for the same result.
func (r *Result) String() string {
	var out strings.Builder
	fmt.Fprintf(&out, "upstream: %v\nclient: %v\n", r.Upstream, r.Client)
	return out.String()
}

// String shows a message in one line.
func (m *Message) String() string {
	if m == nil {
		return "nothing"
	}
	var out strings.Builder
	if m.Method != "" {
		fmt.Fprintf(&out, "%s %s://%s%s", m.Method, m.Scheme, m.Authority, m.Path)
	} else {
		for _, status := range m.Interim {
			fmt.Fprintf(&out, "%d ", status)
		}
		fmt.Fprintf(&out, "%d", m.Status)
	}
	for _, f := range lines(m.Header) {
		fmt.Fprintf(&out, " %s=%q", f.Name, f.Value)
	}
	if plain, ok := m.gunzipped(); ok {
		fmt.Fprintf(&out, " gzip of %s", shown(plain))
	} else {
		fmt.Fprintf(&out, " body %s", shown(m.Body))
	}
	for _, f := range lines(m.Trailer) {
		fmt.Fprintf(&out, " trailer %s=%q", f.Name, f.Value)
	}
	fmt.Fprintf(&out, " %s", m.End)
	return out.String()
}

// gunzipped is what the body says, if it is in gzip, of which there are many ways to write the same.
func (m *Message) gunzipped() (plain string, ok bool) {
	reader, err := gzip.NewReader(strings.NewReader(m.Body))
	if err != nil {
		return "", false
	}
	text, err := io.ReadAll(reader)
	return string(text), err == nil
}

func shown(body string) string {
	if len(body) > 80 {
		return fmt.Sprintf("%q… (%d bytes)", body[:60], len(body))
	}
	return strconv.Quote(body)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recorder is an end that writes down what comes.
type recorder struct {
	events *atomic.Int64 // of the exchange

	mu     sync.Mutex
	m      Message
	body   []byte
	size   int
	digest bool // takes the place of body
	sum    uint32
	method string        // of the request that a response answers
	asked  chan struct{} // an informational response, or what comes instead
	begun  chan struct{} // headers
	ended  chan struct{}
	grown  chan struct{} // closed and made anew when the body grows
	began  bool
	over   bool
}

func newRecorder(events *atomic.Int64) *recorder {
	return &recorder{events: events, asked: make(chan struct{}), begun: make(chan struct{}), ended: make(chan struct{}), grown: make(chan struct{}), m: Message{Header: http.Header{}, End: Hanging}}
}

func (r *recorder) Headers(h []link.Field, end bool) {
	r.events.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range h {
		switch f.Name {
		case ":method":
			r.m.Method = f.Value
		case ":scheme":
			r.m.Scheme = f.Value
		case ":authority", "host":
			r.m.Authority = f.Value
		case ":path":
			r.m.Path = f.Value
		case ":status":
			r.m.Status, _ = strconv.Atoi(f.Value)
		default:
			if !added(f.Name) {
				r.m.Header.Add(f.Name, f.Value)
			}
		}
	}
	if r.m.Status >= 100 && r.m.Status < 200 && r.m.Status != http.StatusSwitchingProtocols {
		if len(r.m.Interim) == 0 {
			close(r.asked)
		}
		r.m.Interim, r.m.Status = append(r.m.Interim, r.m.Status), 0
		return
	}
	if !r.began {
		r.began = true
		if len(r.m.Interim) == 0 {
			close(r.asked)
		}
		close(r.begun)
	}
	if end {
		r.end(Complete)
	}
}

// added reports whether proxies add the header of themselves.
func added(name string) bool {
	switch name {
	case "x-forwarded-proto", "date", "server", "x-request-id":
		return true
	}
	return strings.HasPrefix(name, "x-envoy-") || strings.HasPrefix(name, "x-sdktest-")
}

func (r *recorder) Data(p []byte, end bool) {
	r.events.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if r.size += len(p); r.digest {
		r.sum = crc32.Update(r.sum, castagnoli, p)
	} else {
		r.body = append(r.body, p...)
	}
	close(r.grown)
	r.grown = make(chan struct{})
	if end {
		r.end(Complete)
	}
}

// await returns when n bytes of body have come, or no more will.
func (r *recorder) await(ctx context.Context, n int) {
	for {
		r.mu.Lock()
		enough, grown := r.size >= n, r.grown
		r.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-grown:
		case <-r.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (r *recorder) Trailers(h []link.Field) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.m.Trailer = http.Header{}
	for _, f := range h {
		r.m.Trailer.Add(f.Name, f.Value)
	}
	r.end(Complete)
}

func (r *recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.end(Reset)
	}
}

// end closes the message; whoever holds the lock calls it.
func (r *recorder) end(how Ending) {
	if r.over {
		return
	}
	r.over = true
	if how == Complete && !r.fits() {
		how = Malformed
	}
	r.m.End = how
	close(r.ended)
}

// fits holds the body against content-length, where that speaks of it (RFC 9110 section 8.6).
func (r *recorder) fits() bool {
	text := r.m.Header.Get("content-length")
	if text == "" || r.method == http.MethodHead || r.m.Status == http.StatusNotModified {
		return true
	}
	n, err := strconv.Atoi(text)
	return err == nil && n == r.size
}

// message returns what was recorded so far.
func (r *recorder) message() *Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.m
	if m.Body = string(r.body); r.digest {
		m.Body = fmt.Sprintf("%d bytes, CRC-32C %08x", r.size, r.sum)
	}
	m.Header, m.Trailer = m.Header.Clone(), m.Trailer.Clone()
	return &m
}

// Forget drops the record of the stream, where it depends on timing and two results are to be compared.
func (r *Result) Forget() {
	r.Stream, r.frames = nil, nil
	if r.Inner != nil {
		r.Inner.Stream, r.Inner.frames = nil, nil
	}
}
