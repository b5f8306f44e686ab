package record

import (
	"bytes"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/internal/mask"
)

// Redacted stands in place of what isn't kept.
const Redacted = mask.Masked

// DefaultHeaders are the headers and keys of initial metadata whose values are never kept, in lower case.
func DefaultHeaders() []string { return mask.Headers() }

// Redactor takes out what must not be kept. The zero Redactor takes out the values of [DefaultHeaders], all
// values in query strings, the contents (not the sizes) of bodies, dynamic metadata and attributes.
type Redactor struct {
	// Headers are more header names, in whatever case.
	Headers []string
	// KeepBodies, KeepQueries and KeepMetadata (attributes too) keep what is not known to be a secret.
	KeepBodies, KeepQueries, KeepMetadata bool
}

// Apply redacts a recording in place.
func (r Redactor) Apply(rec *Recording) {
	for key, values := range rec.Metadata {
		if r.secret(key) {
			rec.Metadata[key] = slices.Repeat([]string{Redacted}, len(values))
		}
	}
	for _, f := range rec.Frames {
		if f.Request != nil {
			r.request(f.Request)
		} else {
			r.response(f.Response)
		}
	}
}

func (r Redactor) secret(name string) bool {
	name = strings.ToLower(name)
	return slices.Contains(DefaultHeaders(), name) || slices.ContainsFunc(r.Headers, func(h string) bool { return strings.EqualFold(h, name) })
}

func (r Redactor) request(m *extprocv3.ProcessingRequest) {
	if !r.KeepMetadata {
		if c := m.GetMetadataContext(); c != nil {
			m.MetadataContext = &corev3.Metadata{}
		}
		for _, attributes := range m.GetAttributes() {
			blank(attributes)
		}
	}
	switch kind := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		r.lines(kind.RequestHeaders.GetHeaders())
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		r.lines(kind.ResponseHeaders.GetHeaders())
	case *extprocv3.ProcessingRequest_RequestTrailers:
		r.lines(kind.RequestTrailers.GetTrailers())
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		r.lines(kind.ResponseTrailers.GetTrailers())
	case *extprocv3.ProcessingRequest_RequestBody:
		kind.RequestBody.Body = r.body(kind.RequestBody.GetBody())
	case *extprocv3.ProcessingRequest_ResponseBody:
		kind.ResponseBody.Body = r.body(kind.ResponseBody.GetBody())
	}
}

func (r Redactor) response(m *extprocv3.ProcessingResponse) {
	if !r.KeepMetadata {
		blank(m.GetDynamicMetadata())
		m.TypedDynamicMetadata = nil
	}
	for _, h := range []*extprocv3.HeadersResponse{m.GetRequestHeaders(), m.GetResponseHeaders()} {
		r.common(h.GetResponse())
	}
	for _, b := range []*extprocv3.BodyResponse{m.GetRequestBody(), m.GetResponseBody()} {
		r.common(b.GetResponse())
	}
	for _, t := range []*extprocv3.TrailersResponse{m.GetRequestTrailers(), m.GetResponseTrailers()} {
		r.mutation(t.GetHeaderMutation())
	}
	if i := m.GetImmediateResponse(); i != nil {
		r.mutation(i.GetHeaders())
		i.Body = r.body(i.GetBody())
	}
	s := m.GetStreamedImmediateResponse()
	r.lines(s.GetHeadersResponse().GetHeaders())
	r.lines(s.GetTrailersResponse())
	if b := s.GetBodyResponse(); b != nil {
		b.Body = r.body(b.GetBody())
	}
}

func (r Redactor) common(c *extprocv3.CommonResponse) {
	r.mutation(c.GetHeaderMutation())
	r.lines(c.GetTrailers())
	switch b := c.GetBodyMutation().GetMutation().(type) {
	case *extprocv3.BodyMutation_Body:
		b.Body = r.body(b.Body)
	case *extprocv3.BodyMutation_StreamedResponse:
		b.StreamedResponse.Body = r.body(b.StreamedResponse.GetBody())
	}
}

func (r Redactor) mutation(m *extprocv3.HeaderMutation) {
	for _, option := range m.GetSetHeaders() {
		r.line(option.GetHeader())
	}
}

func (r Redactor) lines(h *corev3.HeaderMap) {
	for _, line := range h.GetHeaders() {
		r.line(line)
	}
}

func (r Redactor) line(h *corev3.HeaderValue) {
	if h == nil {
		return
	}
	change := func(text string) string {
		switch name := strings.ToLower(h.GetKey()); {
		case text == "":
			return ""
		case r.secret(name):
			return Redacted
		case !r.KeepQueries && (name == ":path" || name == "referer" || name == "location" || name == "x-envoy-original-path"):
			return mask.Query(text)
		}
		return text
	}
	h.Value, h.RawValue = change(h.GetValue()), []byte(change(string(h.GetRawValue())))
	if len(h.GetRawValue()) == 0 {
		h.RawValue = nil
	}
}

// body keeps the size, by which chunks are told apart.
func (r Redactor) body(p []byte) []byte {
	if r.KeepBodies {
		return p
	}
	return bytes.Repeat([]byte("x"), len(p))
}

// blank keeps the names of the first two levels: namespaces and their keys.
func blank(s *structpb.Struct) {
	for name, value := range s.GetFields() {
		inner := value.GetStructValue()
		if inner == nil {
			s.Fields[name] = structpb.NewStringValue(Redacted)
			continue
		}
		for key := range inner.GetFields() {
			inner.Fields[key] = structpb.NewStringValue(Redacted)
		}
	}
}
