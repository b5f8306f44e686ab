package exchange

import (
	"maps"
	"slices"
)

// Response is the response of an exchange. Strings from it may be kept. It belongs to the goroutine of
// its Exchange.
type Response struct {
	// Header holds the lines without pseudo-headers.
	Header Header
	// Body is touched as far as Next was told; untouched it passes unchanged.
	Body Body
	// Trailer is filled when Body is at its end, if Next was told. Edits made until then are sent with
	// it; a response without trailers can't be given any.
	Trailer Header

	status    int
	newStatus bool
	local     bool
}

// NewResponse is for hosts and tests.
func NewResponse(status int, header Header, body Body) *Response {
	return &Response{status: status, Header: header, Body: body}
}

// Init makes r, which is zero, what [NewResponse] returns. For hosts that have the memory already.
func (r *Response) Init(status int, header Header, body Body) {
	r.status, r.Header, r.Body = status, header, body
}

// NewLocalResponse is the response that reply stands for. For hosts.
func NewLocalResponse(reply *Reply) *Response {
	var fields []Field
	for _, name := range slices.Sorted(maps.Keys(reply.Header)) {
		for _, value := range reply.Header[name] {
			fields = append(fields, Field{Name: name, Value: value})
		}
	}
	return &Response{
		status: reply.Status(), Header: NewHeader(fields...), Body: BufferedBody(reply.Body, false), local: true,
	}
}

// Local reports whether an inner processor made the response, not the upstream.
func (r *Response) Local() bool { return r.local }

// Status returns the HTTP status code, 0 if the host sent none that is a number.
func (r *Response) Status() int { return r.status }

// SetStatus edits the status; a code below 200 or above 599 is [ErrBadEdit] when the response is
// released.
func (r *Response) SetStatus(code int) { r.status, r.newStatus = code, true }

// StatusEdited reports whether SetStatus was called. For hosts.
func (r *Response) StatusEdited() bool { return r.newStatus }
