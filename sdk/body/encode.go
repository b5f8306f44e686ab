package body

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Encoder compresses with one coding: Gzip, Brotli, Zstd or Deflate, else it is [ErrCoding]. With flush each chunk
// goes out as it came in, at some cost of compression.
func Encoder(coding string, flush bool) (Func, error) {
	if compressors[coding] == nil {
		return nil, fmt.Errorf("%w %q", ErrCoding, coding)
	}
	return func(dst io.Writer, src io.Reader) error { return compress(dst, src, coding, flush) }, nil
}

// Compression says which responses [EncodeResponse] compresses. The zero value has the defaults.
type Compression struct {
	// Codings are those to choose from, the dearest to the server first; nil is br, zstd, gzip: what takes
	// deflate takes gzip.
	Codings []string
	// MinSize is the content-length below which it isn't worth it, in bytes; 0 is 1024. A body of unknown
	// length is worth it.
	MinSize int64
	// Types are media types such as "application/json", or prefixes that end with a slash; nil is text/,
	// JSON, XML, JavaScript, SVG, Wasm, and what ends with +json or +xml.
	Types []string
}

const defaultMinSize = 1024

// EncodeResponse has r's body compressed with the coding that the request q accepts most (RFC 9110
// section 12.5.3), and says so in content-encoding, vary, and a weak etag. It returns the coding, "" if
// the response stays as it is: it has no body or is a part of one (206), is encoded, forbids it by
// cache-control: no-transform, is too small or of another type, or the client accepts none. Events of a
// text/event-stream go out one by one.
//
// Next must have been told [exchange.EditBody]; the error is [ErrCoding], of c.
func EncodeResponse(q *exchange.Request, r *exchange.Response, c Compression) (coding string, err error) {
	if c.Codings == nil {
		c.Codings = []string{Brotli, Zstd, Gzip}
	}
	if !c.eligible(q, r) {
		return "", nil
	}
	// The answer depends on the request's header even where this client gets it plain.
	addVary(&r.Header)
	coding = choose(strings.Join(q.Header.Values("accept-encoding"), ","), c.Codings)
	if coding == "" {
		return "", nil
	}
	fn, err := Encoder(coding, isEventStream(&r.Header))
	if err != nil {
		return "", err
	}
	r.Header.Set("content-encoding", coding)
	changed(&r.Header)
	r.Body.Transform(fn)
	return coding, nil
}

func (c *Compression) eligible(q *exchange.Request, r *exchange.Response) bool {
	switch {
	case r.Body.Empty(), q.Method() == http.MethodHead, r.Status() == http.StatusPartialContent,
		r.Status() == http.StatusNoContent, r.Status() == http.StatusNotModified,
		r.Header.Has("content-encoding"), r.Header.Has("content-range"),
		listed(r.Header.Values("cache-control"), "no-transform"):
		return false
	}
	least := c.MinSize
	if least == 0 {
		least = defaultMinSize
	}
	if size, err := strconv.ParseInt(r.Header.Get("content-length"), 10, 64); err == nil && size < least {
		return false
	}
	return c.covers(mediaType(&r.Header))
}

func (c *Compression) covers(kind string) bool {
	if c.Types == nil {
		return strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml") || common[kind]
	}
	for _, t := range c.Types {
		if t == kind || strings.HasSuffix(t, "/") && strings.HasPrefix(kind, t) {
			return true
		}
	}
	return false
}

var common = map[string]bool{
	"application/json": true, "application/xml": true, "application/javascript": true, "application/wasm": true,
	"application/x-ndjson": true, "application/jsonl": true, "application/graphql-response+json": true,
}

func mediaType(h *exchange.Header) string {
	kind, _, err := mime.ParseMediaType(h.Get("content-type"))
	if err != nil {
		return ""
	}
	return kind
}

func isEventStream(h *exchange.Header) bool { return mediaType(h) == "text/event-stream" }

// listed reports whether a comma-separated header has a member, without regard to case.
func listed(values []string, member string) bool {
	for _, value := range values {
		for m := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(m), member) {
				return true
			}
		}
	}
	return false
}

func addVary(h *exchange.Header) {
	values := h.Values("vary")
	if !listed(values, "accept-encoding") && !listed(values, "*") {
		h.Add("vary", "Accept-Encoding")
	}
}

// choose returns the coding with the greatest weight, the first of those in case of a tie, "" if none is
// accepted or a plain body is accepted more.
func choose(accept string, ours []string) string {
	weights := map[string]float64{}
	for part := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "x-gzip" {
			name = Gzip
		}
		weights[name] = weight(params)
	}
	other, wild := weights["*"]
	best, at := "", weights["identity"] // not named, it is acceptable, and less than what is
	for _, coding := range ours {
		w, named := weights[coding]
		if !named && wild {
			w = other
		}
		if w > 0 && (w > at || best == "" && w == at) {
			best, at = coding, w
		}
	}
	return best
}

// weight reads q (RFC 9110 section 12.4.2); what can't be read is 0, which accepts nothing.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		key, value, ok := strings.Cut(strings.TrimSpace(param), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(key), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
