package emulate

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// localReply is a response that the proxy makes itself.
type localReply struct {
	code    int
	body    string
	details string
	headers *extprocv3.HeaderMutation
	grpc    *uint32
}

// immediate is the processor's own verdict.
func (e *Emulator) immediate(r *extprocv3.ImmediateResponse) {
	code := max(int(r.GetStatus().GetCode()), http.StatusOK)
	out := localReply{code: code, body: string(r.GetBody()), headers: r.GetHeaders(), details: strings.ReplaceAll(r.GetDetails(), " ", "_")}
	if r.GetGrpcStatus() != nil {
		status := r.GetGrpcStatus().GetStatus()
		out.grpc = &status
	}
	e.reply(out)
}

// reply sends r in place of the response, or breaks off a response that has begun. One that comes before
// any response goes through all filters, also such as haven't seen the request.
func (e *Emulator) reply(r localReply) {
	e.complete = e.complete || !e.begun
	e.shared.reply(r, e)
}

func (s *shared) reply(r localReply, by *Emulator) {
	if s.over {
		return
	}
	s.details = r.details
	if s.begun {
		s.abort()
		return
	}
	s.localReply = true
	h := []link.Field{{Name: ":status", Value: strconv.Itoa(r.code)}}
	if r.body != "" && !s.grpcRequest {
		h = append(h, link.Field{Name: "content-length", Value: strconv.Itoa(len(r.body))},
			link.Field{Name: "content-type", Value: "text/plain"})
	}
	if r.headers != nil { // one that is bad is dropped, from where it is bad
		h, _ = by.mutate(h, r.headers, false, false)
	}
	if s.grpcRequest {
		h, r.body = grpcReply(h, r), ""
	}
	if s.method == http.MethodHead {
		r.body = ""
	}
	if s.down.fields == nil && len(s.hops) > 1 {
		s.viaFilters(h, r.body)
		return
	}
	s.down.fields = h
	last := &exit{s, false}
	last.Headers(h, r.body == "")
	if r.body != "" {
		last.Data([]byte(r.body), true)
	}
}

// tooLarge answers a request whose body exceeds the buffer. The answer goes through all filters.
func (e *Emulator) tooLarge() {
	const text = "Payload Too Large"
	e.merge()
	e.localReply, e.details = true, "request_payload_too_large"
	e.viaFilters([]link.Field{
		{Name: ":status", Value: "413"},
		{Name: "content-length", Value: strconv.Itoa(len(text))},
		{Name: "content-type", Value: "text/plain"},
	}, text)
}

// grpcReply is a reply as a gRPC client needs it.
func grpcReply(h []link.Field, r localReply) []link.Field {
	status := grpcStatus(r.code)
	if r.grpc != nil {
		status = *r.grpc
	}
	h = set(h, ":status", "200", false)
	h = set(h, "content-type", "application/grpc", false)
	h = remove(h, "content-length")
	h = set(h, "grpc-status", strconv.FormatUint(uint64(status), 10), false)
	if r.body != "" {
		h = set(h, "grpc-message", percentEncoded(r.body), false)
	}
	return h
}

// percentEncoded is the encoding of grpc-message.
func percentEncoded(text string) string {
	var out strings.Builder
	for _, c := range []byte(text) {
		if c >= ' ' && c <= '~' && c != '%' {
			out.WriteByte(c)
		} else {
			fmt.Fprintf(&out, "%%%02X", c)
		}
	}
	return out.String()
}

// grpcStatus is the mapping of gRPC's document "HTTP to gRPC Status Code Mapping".
func grpcStatus(code int) uint32 {
	switch code {
	case 400:
		return 13
	case 401:
		return 16
	case 403:
		return 7
	case 404:
		return 12
	case 429, 502, 503, 504:
		return 14
	}
	return 2
}

// streamed is a reply in parts.
func (e *Emulator) streamed(r *extprocv3.StreamedImmediateResponse) error {
	switch part := r.GetResponse().(type) {
	case *extprocv3.StreamedImmediateResponse_HeadersResponse:
		return e.streamedHeaders(part.HeadersResponse)
	case *extprocv3.StreamedImmediateResponse_BodyResponse:
		if !e.localReply {
			return errBodyFirst
		}
		e.replyPart(part.BodyResponse.GetEndOfStream(), func(to link.End, end bool) { to.Data(part.BodyResponse.GetBody(), end) })
		return nil
	case *extprocv3.StreamedImmediateResponse_TrailersResponse:
		if !e.localReply {
			return errBodyFirst
		}
		for _, v := range part.TrailersResponse.GetHeaders() {
			e.down.trailers = append(e.down.trailers, link.Field{Name: v.GetKey(), Value: string(v.GetRawValue())})
		}
		e.down.trailed = true
		e.replyPart(true, func(to link.End, _ bool) { to.Trailers(e.down.trailers) })
		return nil
	}
	return errUnhandled
}

// streamedHeaders begins a reply in parts: only before the request's headers are answered, and with a body
// only where no body of either direction is on another kind of way.
func (e *Emulator) streamedHeaders(r *extprocv3.HttpHeaders) error {
	plain := func(d *direction) bool { return d.mode == modeNone || d.duplex() }
	switch {
	case e.request.await != headersAnswer || e.request.headersOut:
		return errSpurious
	case !r.GetEndOfStream() && (!plain(&e.request) || !plain(&e.response)):
		return errBodyModes
	}
	e.localReply = true
	e.request.answered(nothing)
	var h []link.Field
	for _, v := range r.GetHeaders().GetHeaders() {
		value := string(v.GetRawValue())
		if value == "" {
			value = v.GetValue()
		}
		h = append(h, link.Field{Name: strings.ToLower(v.GetKey()), Value: value})
	}
	if _, ok := link.Get(h, ":status"); !ok {
		e.localReply = false
		e.reply(localReply{code: 502, body: "missing required header: :status",
			details: "filter_removed_required_response_headers{missing_required_header:_:status}"})
		return nil
	}
	e.details = "ext_proc_local_response"
	e.response.fields, e.response.through = h, true
	e.replyPart(r.GetEndOfStream(), func(to link.End, end bool) { to.Headers(h, end) })
	return nil
}

// replyPart has a part of e's reply go through the other filters.
func (e *Emulator) replyPart(end bool, send func(to link.End, end bool)) {
	e.down.whole, e.down.ended = end, end
	send(e.entrance(false), end)
	if end && !e.over {
		e.finishStream()
	}
}
