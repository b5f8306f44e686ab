package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// The ways of a connection.
const (
	toProcessor = iota
	fromProcessor
)

// tapped is a connection as it was seen on the wire, both ways.
type tapped struct {
	ways    [2]way
	streams map[uint32]*tappedStream
	order   []*tappedStream
}

// way is one way of it.
type way struct {
	begun   bool // past the preface of a client
	rest    []byte
	decoder *hpack.Decoder
	block   []byte // header fields that go on in the next frame
}

// tappedStream is a stream of the ext_proc service.
type tappedStream struct {
	rec  *Recording
	rest [2][]byte // of messages that go on in the next frame
}

const (
	frameHeader  = 9        // RFC 9113 section 4.1
	dynamicTable = 64 << 10 // more than any of the two asks for
	firstTable   = 4 << 10  // RFC 9113 section 6.5.2
)

func newTapped() *tapped {
	c := &tapped{streams: map[uint32]*tappedStream{}}
	for i := range c.ways {
		c.ways[i].decoder = hpack.NewDecoder(firstTable, nil)
		c.ways[i].decoder.SetAllowedMaxDynamicTableSize(dynamicTable)
	}
	c.ways[fromProcessor].begun = true
	return c
}

func (c *tapped) recordings() []*Recording {
	out := make([]*Recording, len(c.order))
	for i, s := range c.order {
		out[i] = s.rec
	}
	return out
}

// feed takes bytes of one way.
func (c *tapped) feed(n int, data []byte) error {
	w := &c.ways[n]
	w.rest = append(w.rest, data...)
	if !w.begun {
		if len(w.rest) < len(http2.ClientPreface) {
			return nil
		}
		rest, ok := bytes.CutPrefix(w.rest, []byte(http2.ClientPreface))
		if !ok {
			return errors.New("no HTTP/2 connection, or not from its beginning")
		}
		w.rest, w.begun = rest, true
	}
	for len(w.rest) >= frameHeader {
		length := int(w.rest[0])<<16 | int(w.rest[1])<<8 | int(w.rest[2])
		if len(w.rest) < frameHeader+length {
			return nil
		}
		kind, flags := http2.FrameType(w.rest[3]), http2.Flags(w.rest[4])
		id := binary.BigEndian.Uint32(w.rest[5:]) &^ (1 << 31)
		payload := w.rest[frameHeader : frameHeader+length]
		w.rest = w.rest[frameHeader+length:]
		if err := c.frame(n, kind, flags, id, payload); err != nil {
			return err
		}
	}
	return nil
}

var errFrame = errors.New("malformed HTTP/2 frame")

func (c *tapped) frame(n int, kind http2.FrameType, flags http2.Flags, id uint32, payload []byte) error {
	w := &c.ways[n]
	if (kind == http2.FrameData || kind == http2.FrameHeaders) && flags.Has(http2.FlagDataPadded) {
		if len(payload) == 0 || int(payload[0]) >= len(payload) {
			return errFrame
		}
		payload = payload[1 : len(payload)-int(payload[0])]
	}
	switch kind {
	case http2.FrameData:
		return c.data(n, id, payload)
	case http2.FrameHeaders:
		if flags.Has(http2.FlagHeadersPriority) {
			if len(payload) < 5 {
				return errFrame
			}
			payload = payload[5:]
		}
		w.block = bytes.Clone(payload)
	case http2.FrameContinuation:
		w.block = append(w.block, payload...)
	default:
		return nil
	}
	if !flags.Has(http2.FlagHeadersEndHeaders) {
		return nil
	}
	fields, err := w.decoder.DecodeFull(w.block)
	if err != nil {
		return err
	}
	c.headers(n, id, fields)
	return nil
}

// headers begin a stream, or say how it ends.
func (c *tapped) headers(n int, id uint32, fields []hpack.HeaderField) {
	if n == toProcessor {
		rec := &Recording{Metadata: map[string][]string{}}
		ours := false
		for _, f := range fields {
			ours = ours || f.Name == ":path" && f.Value == processMethod
			if !ofGRPC(f.Name) {
				rec.Metadata[f.Name] = append(rec.Metadata[f.Name], f.Value)
			}
		}
		if ours {
			s := &tappedStream{rec: rec}
			c.streams[id], c.order = s, append(c.order, s)
		}
		return
	}
	s := c.streams[id]
	for _, f := range fields {
		if code, err := strconv.ParseUint(f.Value, 10, 8); f.Name == "grpc-status" && err == nil && s != nil {
			s.rec.Code = codes.Code(code)
		}
	}
}

// data takes a piece of a stream's messages, each of which has a byte and its length before it.
func (c *tapped) data(n int, id uint32, payload []byte) error {
	s := c.streams[id]
	if s == nil {
		return nil
	}
	const prefix = 5
	s.rest[n] = append(s.rest[n], payload...)
	for len(s.rest[n]) >= prefix {
		if s.rest[n][0] != 0 {
			return errors.New("gRPC messages are compressed")
		}
		end := prefix + uint64(binary.BigEndian.Uint32(s.rest[n][1:]))
		if uint64(len(s.rest[n])) < end {
			return nil
		}
		if err := s.message(n, s.rest[n][prefix:end]); err != nil {
			return err
		}
		s.rest[n] = s.rest[n][end:]
	}
	return nil
}

func (s *tappedStream) message(n int, text []byte) error {
	var f Frame
	var m proto.Message
	if n == toProcessor {
		f.Request = new(extprocv3.ProcessingRequest)
		m = f.Request
	} else {
		f.Response = new(extprocv3.ProcessingResponse)
		m = f.Response
	}
	if err := proto.Unmarshal(text, m); err != nil {
		return fmt.Errorf("message %d: %w", len(s.rec.Frames)+1, err)
	}
	s.rec.Frames = append(s.rec.Frames, f)
	return nil
}
