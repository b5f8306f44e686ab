package sdktest

import (
	"errors"

	"google.golang.org/grpc"
)

// Inner is a second ext_proc filter, between a [Filter] and the upstream, with a processor of its own. Of its
// Filter, what is the exchange's and not the filter's has no meaning: Inner, Outside, Inside, Metadata,
// TypedMetadata, Connection, HTTP1, Unreachable, Dies, ReceiveLimit and BufferLimit.
type Inner struct {
	Processor any
	Filter    Filter
}

// Codec is a filter of Envoy's own, for gzip.
type Codec uint8

// The codecs.
const (
	// NoCodec is none.
	NoCodec Codec = iota
	// Decompressor is envoy.filters.http.decompressor, for both directions.
	Decompressor
	// Compressor is envoy.filters.http.compressor, for responses.
	Compressor
)

// InnerResult is how an exchange went for the inner filter.
type InnerResult struct {
	// Stream and Counters are as a [Result]'s.
	Stream   []string
	Counters map[string]uint64

	frames []frame
}

// innerTap is the tap of the inner filter's processor, which has the gates of the outer one's; nil if there
// is no inner filter.
func innerTap(outer *tap, i *Inner, handle func(processor any) handler) *tap {
	if i == nil {
		return nil
	}
	return &tap{events: outer.events, handle: handle(i.Processor), request: outer.request, response: outer.response, asked: outer.asked}
}

var errNoInner = errors.New("there is no inner filter")

// serveInner is where the inner filter's streams go.
func (p *tap) serveInner(ss grpc.ServerStream) error {
	if p == nil {
		return errNoInner
	}
	return p.serve(ss)
}
