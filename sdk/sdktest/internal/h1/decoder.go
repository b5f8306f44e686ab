package h1

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// phase is what of a message comes next.
type phase uint8

const (
	head phase = iota
	fixed
	chunkSize
	chunkData
	chunkEnd
	trailer
	untilClose
	raw // what follows an upgrade
	over
)

// Decoder makes frames of the bytes of one message, as Envoy's codec does: what of a body comes at once is
// one part, and its end comes by itself. What follows the message is dropped. It is used by one goroutine
// at a time.
type Decoder struct {
	// Broken, if there is one, is called when what came is no HTTP, after which nothing is read.
	Broken func()
	// Proxy drops trailers, and takes the end of a connection for what breaks off what was upgraded, as Envoy
	// does; it is how that ends, else.
	Proxy bool

	to       link.End
	accept   func(h []link.Field) link.End // of requests: gives to
	method   func() string                 // of responses: what the request's was
	phase    phase
	in       []byte
	left     int
	body     []byte
	trailing []link.Field
}

// RequestDecoder reads a request. accept gets its headers, and returns where it goes.
func RequestDecoder(accept func(h []link.Field) link.End) *Decoder { return &Decoder{accept: accept} }

// ResponseDecoder reads the response to a request of that method, which goes to end.
func ResponseDecoder(end link.End, method func() string) *Decoder {
	return &Decoder{to: end, method: method}
}

// Feed takes the next bytes.
func (d *Decoder) Feed(p []byte) {
	d.in = append(d.in, p...)
	for d.step() {
	}
	d.flush()
}

// Close is the end of the connection.
func (d *Decoder) Close() {
	switch {
	case d.to == nil || d.phase == over:
	case d.phase == untilClose, d.phase == raw && !d.Proxy:
		d.end()
	default:
		d.phase = over
		d.to.Reset()
	}
}

// End is the end of what isn't delimited: the connection's end, as far as it goes in this direction.
func (d *Decoder) End() {
	if d.phase == untilClose || d.phase == raw {
		d.Close()
	}
}

// Over reports whether the message has ended.
func (d *Decoder) Over() bool { return d.phase == over }

// step takes in what it can; it is false when it can't go on.
func (d *Decoder) step() bool {
	switch d.phase {
	case head:
		return d.head()
	case fixed:
		if d.take(); d.left == 0 {
			d.end()
		}
	case chunkSize:
		line, ok := d.line()
		if !ok {
			return false
		}
		n, err := strconv.ParseUint(line, 16, 31)
		if err != nil {
			d.broken()
			return false
		}
		if d.left, d.phase = int(n), chunkData; n == 0 {
			d.phase = trailer
		}
		return true
	case chunkData:
		if d.take(); d.left == 0 {
			d.phase = chunkEnd
			return true
		}
	case chunkEnd:
		if _, ok := d.line(); ok {
			d.phase = chunkSize
			return true
		}
	case trailer:
		return d.trailer()
	case untilClose, raw:
		d.left = len(d.in)
		d.take()
	case over:
		d.in = nil
	}
	return false
}

func (d *Decoder) line() (string, bool) {
	line, rest, ok := bytes.Cut(d.in, []byte("\r\n"))
	if ok {
		d.in = rest
	}
	return string(line), ok
}

// take moves what there is of the body out of the input.
func (d *Decoder) take() {
	n := min(d.left, len(d.in))
	d.body = append(d.body, d.in[:n]...)
	d.in, d.left = d.in[n:], d.left-n
}

func (d *Decoder) flush() {
	if len(d.body) > 0 {
		d.to.Data(d.body, false)
		d.body = nil
	}
}

func (d *Decoder) end() {
	d.flush()
	d.phase = over
	d.to.Data(nil, true)
}

func (d *Decoder) broken() {
	d.phase = over
	if d.to != nil {
		d.to.Reset()
	}
	if d.Broken != nil {
		d.Broken()
	}
}

func (d *Decoder) trailer() bool {
	line, ok := d.line()
	switch {
	case !ok:
		return false
	case line != "":
		name, value, _ := strings.Cut(line, ":")
		d.trailing = append(d.trailing, link.Field{Name: strings.ToLower(name), Value: strings.TrimSpace(value)})
		return true
	case len(d.trailing) > 0 && !d.Proxy:
		d.flush()
		d.phase = over
		d.to.Trailers(d.trailing)
	default:
		d.end()
	}
	return false
}

// head takes the first line and the header section.
func (d *Decoder) head() bool {
	section, rest, ok := bytes.Cut(d.in, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	d.in = rest
	lines := strings.Split(string(section), "\r\n")
	h := firstLine(lines[0])
	if h == nil {
		d.broken()
		return false
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		if f := field(strings.ToLower(name), strings.TrimSpace(value)); f.Name != ":authority" || !hasAuthority(h) {
			h = append(h, f)
		}
	}
	if d.accept != nil {
		d.to = d.accept(h)
	}
	if d.to == nil {
		d.phase = over
		return false
	}
	d.phase = d.framing(h)
	d.to.Headers(h, d.phase == over)
	if status, _ := link.Get(h, ":status"); len(status) == 3 && status[0] == '1' && status != "101" {
		d.phase = head // the response is yet to come
	}
	return true
}

func field(name, value string) link.Field {
	if name == "host" {
		name = ":authority"
	}
	return link.Field{Name: name, Value: value}
}

func hasAuthority(h []link.Field) bool {
	_, ok := link.Get(h, ":authority")
	return ok
}

// firstLine gives the pseudo-headers of a request's or a response's first line, nothing if it is none.
func firstLine(line string) []link.Field {
	first, rest, ok := strings.Cut(line, " ")
	switch {
	case !ok:
		return nil
	case strings.HasPrefix(first, "HTTP/"):
		status, _, _ := strings.Cut(rest, " ")
		return []link.Field{{Name: ":status", Value: status}}
	}
	target, _, _ := strings.Cut(rest, " ")
	if first == http.MethodConnect {
		return []link.Field{{Name: ":method", Value: first}, {Name: ":authority", Value: target}, {Name: ":scheme", Value: "http"}}
	}
	return []link.Field{{Name: ":method", Value: first}, {Name: ":path", Value: target}, {Name: ":scheme", Value: "http"}}
}

// framing says how the body of a message is delimited (RFC 9112 section 6.3). over is none.
func (d *Decoder) framing(h []link.Field) phase {
	status, isResponse := link.Get(h, ":status")
	method, _ := link.Get(h, ":method")
	if isResponse {
		method = d.method()
	}
	switch {
	case Upgraded(h, method):
		return raw
	case isResponse && (status[0] == '1' || status == "204" || status == "304" || method == http.MethodHead):
		return over
	}
	if encoding, _ := link.Get(h, "transfer-encoding"); strings.EqualFold(encoding, "chunked") {
		return chunkSize
	}
	if length, ok := link.Get(h, "content-length"); ok {
		d.left, _ = strconv.Atoi(length)
		if d.left > 0 {
			return fixed
		}
		return over
	}
	if isResponse {
		return untilClose
	}
	return over
}

// Upgraded reports whether what follows the headers are no longer HTTP's bytes.
func Upgraded(h []link.Field, method string) bool {
	status, isResponse := link.Get(h, ":status")
	_, upgrade := link.Get(h, "upgrade")
	switch {
	case isResponse && method == http.MethodConnect:
		return strings.HasPrefix(status, "2")
	case isResponse:
		return status == "101"
	case method == http.MethodConnect:
		return true
	}
	return upgrade
}
