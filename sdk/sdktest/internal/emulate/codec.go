package emulate

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// Codec is a filter of Envoy's that changes bodies.
type Codec uint8

// The codecs, all of gzip.
const (
	NoCodec Codec = iota
	Decompressor
	Compressor
)

// codec is a Codec in the chain.
type codec struct {
	s    *shared
	kind Codec
}

func (s *shared) addCodec(kind Codec) {
	if kind != NoCodec {
		s.hops = append(s.hops, &codec{s, kind})
	}
}

// inlet of a direction keeps its state, so there is one.
func (c *codec) inlet(request bool) link.End {
	at := c.s.passage(request)
	if at.coding == nil {
		at.coding = map[*codec]*coding{}
	}
	if at.coding[c] == nil {
		at.coding[c] = &coding{codec: c, request: request}
	}
	return at.coding[c]
}

// coding is a codec's part in one direction.
type coding struct {
	*codec
	request bool
	active  bool
	in, out bytes.Buffer
	taken   int          // bytes in
	given   int          // bytes out
	writer  *gzip.Writer // of a compressor
}

func (c *coding) Headers(_ []link.Field, end bool) {
	p := c.s.passage(c.request)
	switch {
	case c.kind == Decompressor:
		c.decompressHeaders(p)
	case !c.request && !end:
		c.compressHeaders(p)
	}
	c.s.next(c.codec, c.request).Headers(p.fields, end)
}

// decompressHeaders offers gzip to the upstream, and takes over a body that is in it.
func (c *coding) decompressHeaders(p *passage) {
	if c.request {
		text, ok := link.Get(p.fields, "accept-encoding")
		if ok && !strings.Contains(text, "gzip") {
			text += ","
		}
		if !strings.Contains(text, "gzip") {
			text += "gzip"
		}
		p.fields = set(p.fields, "accept-encoding", text, false)
	}
	if text, _ := link.Get(p.fields, "content-encoding"); text != "gzip" {
		return
	}
	c.active = true
	p.fields = remove(remove(p.fields, "content-length"), "content-encoding")
}

// minimumLength is what a body must have at least to be worth compressing.
const minimumLength = 30

func (c *coding) compressHeaders(p *passage) {
	accepted, _ := link.Get(c.s.up.fields, "accept-encoding")
	kind, _ := link.Get(p.fields, "content-type")
	length, sized := link.Get(p.fields, "content-length")
	n, _ := strconv.Atoi(length)
	_, encoded := link.Get(p.fields, "content-encoding")
	if !strings.Contains(accepted, "gzip") || encoded || sized && n < minimumLength ||
		!slices.Contains([]string{"text/plain", "application/json", "text/html"}, kind) {
		return
	}
	c.active = true
	c.writer = gzip.NewWriter(&c.out)
	p.fields = remove(p.fields, "content-length")
	p.fields = set(set(p.fields, "vary", "Accept-Encoding", false), "content-encoding", "gzip", false)
}

func (c *coding) Data(p []byte, end bool) {
	next := c.s.next(c.codec, c.request)
	if !c.active {
		next.Data(p, end)
		return
	}
	c.taken += len(p)
	if c.writer != nil {
		next.Data(c.compressed(p, end), end)
		return
	}
	out := c.decompressed(p)
	if !end {
		next.Data(out, false)
		return
	}
	at := c.s.passage(c.request)
	at.trailed, at.trailers = true, c.counts(nil)
	next.Data(out, false)
	if c.request || !c.s.stoppedBehind(c.codec) {
		next.Trailers(at.trailers)
	}
}

func (c *coding) Trailers([]link.Field) {
	at, next := c.s.passage(c.request), c.s.next(c.codec, c.request)
	switch {
	case !c.active:
	case c.writer != nil:
		next.Data(c.compressed(nil, true), false)
	default:
		at.trailers = c.counts(at.trailers)
	}
	next.Trailers(at.trailers)
}

func (c *coding) Reset() {}

// stoppedBehind reports whether a filter that the response reaches after c has stopped it. Envoy doesn't tell
// such a filter of trailers that c adds at the end: it waits for an end that never comes.
func (s *shared) stoppedBehind(c *codec) bool {
	for _, h := range s.hops[:slices.Index(s.hops, hop(c))] {
		e, ok := h.(*Emulator)
		if !ok || e.complete {
			continue
		}
		if d := &e.response; d.stopped || d.mode == modeStreamed || d.duplex() {
			return true
		}
	}
	return false
}

// counts tells in trailers how much was decompressed.
func (c *coding) counts(h []link.Field) []link.Field {
	const prefix = "x-envoy-decompressor-gzip-"
	return append(h, link.Field{Name: prefix + "compressed-bytes", Value: strconv.Itoa(c.taken)},
		link.Field{Name: prefix + "uncompressed-bytes", Value: strconv.Itoa(c.given)})
}

func (c *coding) compressed(p []byte, end bool) []byte {
	_, _ = c.writer.Write(p)
	if end {
		_ = c.writer.Close()
	} else {
		_ = c.writer.Flush()
	}
	out := bytes.Clone(c.out.Bytes())
	c.out.Reset()
	return out
}

// decompressed is what p adds: all is read again from the start, as tests' bodies are small.
func (c *coding) decompressed(p []byte) []byte {
	c.in.Write(p)
	reader, err := gzip.NewReader(bytes.NewReader(c.in.Bytes()))
	if err != nil {
		return nil
	}
	all, _ := io.ReadAll(reader)
	out := all[c.given:]
	c.given = len(all)
	return out
}
