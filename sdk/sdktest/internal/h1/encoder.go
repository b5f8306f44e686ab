package h1

import (
	"bytes"
	"fmt"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// Encoder makes the bytes of one message, as Envoy's codec does: with the content-length that the headers
// have, without looking whether the body has it, else in chunks. It is used by one goroutine at a time.
type Encoder struct {
	write   func(p []byte)
	method  func() string // of the request that a response answers, or the request's own
	chunked bool
	silent  bool // no body may follow
}

// RequestEncoder and ResponseEncoder give what they make to write, each frame at once. method is that of
// the request that is answered.
func RequestEncoder(write func(p []byte)) *Encoder { return &Encoder{write: write} }

// ResponseEncoder is the other one.
func ResponseEncoder(write func(p []byte), method func() string) *Encoder {
	return &Encoder{write: write, method: method}
}

// Headers sends a header section, and with it how the body is delimited.
func (e *Encoder) Headers(h []link.Field, end bool) {
	var out bytes.Buffer
	method := e.firstLine(&out, h)
	for _, f := range h {
		switch {
		case f.Name == ":authority":
			fmt.Fprintf(&out, "host: %s\r\n", f.Value)
		case f.Name[0] != ':':
			fmt.Fprintf(&out, "%s: %s\r\n", f.Name, f.Value)
		}
	}
	out.WriteString(e.framing(h, method, end))
	out.WriteString("\r\n")
	e.write(out.Bytes())
}

func (e *Encoder) firstLine(out *bytes.Buffer, h []link.Field) (method string) {
	if status, ok := link.Get(h, ":status"); ok {
		code := 0
		_, _ = fmt.Sscan(status, &code)
		fmt.Fprintf(out, "HTTP/1.1 %s %s\r\n", status, http.StatusText(code))
		return e.method()
	}
	method, _ = link.Get(h, ":method")
	path, ok := link.Get(h, ":path")
	if !ok {
		path, _ = link.Get(h, ":authority")
	}
	fmt.Fprintf(out, "%s %s HTTP/1.1\r\n", method, path)
	return method
}

// framing returns the line that says how long the body is, if one is needed.
func (e *Encoder) framing(h []link.Field, method string, end bool) string {
	status, isResponse := link.Get(h, ":status")
	_, sized := link.Get(h, "content-length")
	headless := isResponse && method == http.MethodHead
	e.chunked, e.silent = false, headless
	switch {
	case sized || isResponse && (status < "200" || status == "204" || status == "304"):
	case end && !isResponse && bodiless(method):
	case end && !headless:
		return "content-length: 0\r\n"
	case isResponse && method == http.MethodConnect && status[0] == '2' || !isResponse && Upgraded(h, method):
	default:
		e.chunked = !headless
		return "transfer-encoding: chunked\r\n"
	}
	return ""
}

// bodiless reports whether requests of that method have no body as a rule.
func bodiless(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodTrace, http.MethodConnect:
		return true
	}
	return false
}

// Data sends a part of the body.
func (e *Encoder) Data(p []byte, end bool) {
	out := p
	if e.chunked {
		out = nil
		if len(p) > 0 {
			out = fmt.Appendf(out, "%x\r\n%s\r\n", len(p), p)
		}
		if end {
			out = append(out, "0\r\n\r\n"...)
		}
	}
	if len(out) > 0 && !e.silent {
		e.write(out)
	}
}

// Trailers ends the body. Those of a body that isn't chunked are lost.
func (e *Encoder) Trailers(h []link.Field) {
	if !e.chunked {
		return
	}
	out := []byte("0\r\n")
	for _, f := range h {
		out = fmt.Appendf(out, "%s: %s\r\n", f.Name, f.Value)
	}
	e.write(append(out, "\r\n"...))
}
