package body

import (
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Limit bounds what a compressed body may become: a few bytes can unpack to gigabytes. Past either bound
// is [exchange.ErrTooLarge].
type Limit struct {
	// Bytes is the size of the decoded body; 0 is DefaultBytes, below 0 is no bound.
	Bytes int64
	// Ratio is how many bytes one compressed byte may become on average, from the first MiB on; 0 is
	// DefaultRatio, below 0 is no bound.
	Ratio int64
}

// The bounds without others: text is compressed by 5 to 20, a bomb by a thousand and more.
const (
	DefaultBytes = 64 << 20
	DefaultRatio = 200
)

// ratioFrom is the size from which on Limit.Ratio counts: short bodies of one letter are no attack.
const ratioFrom = 1 << 20

// Decoder decodes a body of the given content-encoding, such as "gzip" or "br, gzip". Several members or
// frames one after the other are one body. Anything but a complete body is [ErrCorrupt]. The error of
// Decoder is [ErrCoding].
func Decoder(encoding string, limit Limit) (Func, error) {
	list, err := codings(encoding)
	if err != nil {
		return nil, err
	}
	return decoder(list, limit), nil
}

func decoder(list []string, limit Limit) Func {
	if limit.Bytes == 0 {
		limit.Bytes = DefaultBytes
	}
	if limit.Ratio == 0 {
		limit.Ratio = DefaultRatio
	}
	return func(dst io.Writer, src io.Reader) error {
		// The last that was applied comes off first. Each stage has the limits, so that the middle can't be
		// the bomb.
		for _, coding := range slices.Backward(list) {
			stage := &decoding{src: src, coding: coding, limit: limit}
			defer stage.close()
			src = stage
		}
		return pump(dst, src, nil)
	}
}

// DecodeRequest has r's body decoded by its content-encoding, which is removed, so that what reads the
// body afterwards, and the upstream, see it plain. The proxy must let the body be edited. What can't be
// decoded is the client's fault: an unknown coding is the Reply 415 with accept-encoding (RFC 9110
// section 15.5.16), a corrupt body 400, one past limit 413.
func DecodeRequest(r *exchange.Request, limit Limit) error {
	list, err := requestCodings(r)
	if err != nil || len(list) == 0 {
		return err
	}
	plain(&r.Header)
	r.Body.Transform(BlameClient(decoder(list, limit)))
	return nil
}

// DecodeResponse has r's body decoded by its content-encoding, which is removed. Next must have been told
// [exchange.EditBody]. An unknown coding is [ErrCoding], and then nothing has changed.
func DecodeResponse(r *exchange.Response, limit Limit) error {
	list, err := responseCodings(r)
	if err != nil || len(list) == 0 {
		return err
	}
	plain(&r.Header)
	r.Body.Transform(decoder(list, limit))
	return nil
}

// EditRequest has fn rewrite r's body as it was before it was compressed; what fn writes is compressed as
// the body was. Errors are those of [DecodeRequest]; fn's ErrSyntax is a 400.
func EditRequest(r *exchange.Request, limit Limit, fn Func) error {
	list, err := requestCodings(r)
	if err != nil {
		return err
	}
	changed(&r.Header)
	if len(list) > 0 {
		r.Body.Transform(BlameClient(decoder(list, limit)))
	}
	r.Body.Transform(BlameClient(fn))
	encode(&r.Body, list, false)
	return nil
}

// EditResponse has fn rewrite r's body as it was before it was compressed; what fn writes is compressed
// as the body was. Next must have been told [exchange.EditBody]. Errors are those of [DecodeResponse].
//
// fn sees what the client asked for, which is a part of the body if it asked for one: a processor that
// hides something deletes the request's range (RFC 9110 section 14.2). [AcceptKnown] keeps the upstream
// from codings that can't be taken off.
func EditResponse(r *exchange.Response, limit Limit, fn Func) error {
	list, err := responseCodings(r)
	if err != nil {
		return err
	}
	changed(&r.Header)
	if len(list) > 0 {
		r.Body.Transform(decoder(list, limit))
	}
	r.Body.Transform(fn)
	encode(&r.Body, list, isEventStream(&r.Header))
	return nil
}

// encode puts codings on, in their order.
func encode(b *exchange.Body, list []string, flush bool) {
	for _, coding := range list {
		b.Transform(func(dst io.Writer, src io.Reader) error { return compress(dst, src, coding, flush) })
	}
}

// AcceptKnown takes from r's accept-encoding the codings that this package doesn't know, so that the
// upstream answers in one that [DecodeResponse] and [EditResponse] can take off. A request that accepts
// any coding, or names none that is known, accepts only "identity" afterwards.
func AcceptKnown(r *exchange.Request) {
	var kept []string
	for member := range strings.SplitSeq(strings.Join(r.Header.Values("accept-encoding"), ","), ",") {
		name, _, _ := strings.Cut(member, ";")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case Gzip, "x-gzip", Brotli, Zstd, Deflate, "identity":
			kept = append(kept, strings.TrimSpace(member))
		}
	}
	if kept == nil {
		kept = []string{"identity"}
	}
	r.Header.Set("accept-encoding", strings.Join(kept, ", "))
}

func requestCodings(r *exchange.Request) ([]string, error) {
	list, err := codings(strings.Join(r.Header.Values("content-encoding"), ","))
	if err != nil {
		reply := exchange.Deny(http.StatusUnsupportedMediaType, "content-encoding is not supported")
		reply.Header = http.Header{"Accept-Encoding": {known}}
		reply.Cause = err
		return nil, reply
	}
	return list, nil
}

func responseCodings(r *exchange.Response) ([]string, error) {
	if r.Body.Empty() {
		return nil, nil
	}
	return codings(strings.Join(r.Header.Values("content-encoding"), ","))
}

// plain takes from the headers what was said of the coded body.
func plain(h *exchange.Header) {
	h.Del("content-encoding")
	changed(h)
}

// changed takes from the headers what holds for the former bytes only: digests (RFC 9530) and strong
// validators (RFC 9110 section 8.8.1). The content-length is the engine's.
func changed(h *exchange.Header) {
	for _, name := range []string{"content-digest", "repr-digest", "digest", "content-md5"} {
		if h.Has(name) {
			h.Del(name)
		}
	}
	if tag := h.Get("etag"); strings.HasPrefix(tag, `"`) {
		h.Set("etag", "W/"+tag)
	}
}
