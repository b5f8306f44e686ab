package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	tapv3 "github.com/envoyproxy/go-control-plane/envoy/data/tap/v3"
	"google.golang.org/protobuf/encoding/protodelim"
)

// maxTrace bounds one message of a trace, in bytes: a segment is about as large as one read of a socket.
const maxTrace = 64 << 20

// FromTap reads the streams of a connection between Envoy and a processor out of what Envoy's tap has written
// of it, redacted. The cluster of the processor needs, in Envoy's configuration,
//
//	transport_socket:
//	  name: envoy.transport_sockets.tap
//	  typed_config:
//	    "@type": type.googleapis.com/envoy.extensions.transport_sockets.tap.v3.Tap
//	    common_config:
//	      static_config:
//	        match: {any_match: true}
//	        output_config:
//	          streaming: true
//	          max_buffered_rx_bytes: 67108864 # of one event; by default 1024
//	          max_buffered_tx_bytes: 67108864
//	          sinks: [{format: PROTO_BINARY_LENGTH_DELIMITED, file_per_tap: {path_prefix: /var/tmp/taps/guard}}]
//	    transport_socket:
//	      name: envoy.transport_sockets.raw_buffer
//	      typed_config: {"@type": type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}
//
// with which it writes a file for each connection. These files hold everything, credentials too: they are not to
// leave the machine, and to be deleted once they are read.
//
// A trace must have its connection from the beginning; its end may be missing. The order of a stream's messages
// is that in which Envoy sent and received them. Errors are those of reading, and of a trace that holds no HTTP/2
// or messages in gRPC's compressed form.
func FromTap(src io.Reader, redactor Redactor) ([]*Recording, error) {
	c := newTapped()
	in := bufio.NewReader(src)
	for {
		var trace tapv3.TraceWrapper
		err := protodelim.UnmarshalOptions{MaxSize: maxTrace}.UnmarshalFrom(in, &trace)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // Envoy may be writing
			out := c.recordings()
			for _, r := range out {
				redactor.Apply(r)
			}
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("tap: %w", err)
		}
		for _, event := range eventsOf(&trace) {
			if err := c.event(event); err != nil {
				return nil, fmt.Errorf("tap: %w", err)
			}
		}
	}
}

// eventsOf are the events of a trace, whole or in segments.
func eventsOf(trace *tapv3.TraceWrapper) []*tapv3.SocketEvent {
	segment := trace.GetSocketStreamedTraceSegment()
	if e := segment.GetEvent(); e != nil {
		return []*tapv3.SocketEvent{e}
	}
	return append(segment.GetEvents().GetEvents(), trace.GetSocketBufferedTrace().GetEvents()...)
}

var errTruncated = errors.New("the trace is truncated: set a larger max_buffered_rx_bytes and max_buffered_tx_bytes")

// event takes in what was sent or received.
func (c *tapped) event(e *tapv3.SocketEvent) error {
	if e.GetRead().GetData().GetTruncated() || e.GetWrite().GetData().GetTruncated() {
		return errTruncated
	}
	if data := e.GetWrite().GetData().GetAsBytes(); len(data) > 0 {
		return c.feed(toProcessor, data)
	}
	return c.feed(fromProcessor, e.GetRead().GetData().GetAsBytes())
}
