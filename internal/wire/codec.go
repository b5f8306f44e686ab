package wire

import (
	"strings"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Codec is grpc's protobuf codec for servers, to be given to [grpc.ForceServerCodecV2]. It hands a [Message] its
// bytes directly, without asking the protobuf library, and leaves all other messages to that.
type Codec struct{}

var _ encoding.CodecV2 = Codec{}

// Name is the content subtype.
func (Codec) Name() string { return proto.Name }

// Marshal is part of [encoding.CodecV2].
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(*Message)
	switch {
	case !ok:
		return encoding.GetCodecV2(proto.Name).Marshal(v)
	case m.buffer != nil:
		*m.buffer = m.Out
		out := mem.BufferSlice{mem.NewBuffer(m.buffer, &answers)}
		m.Out, m.buffer = nil, nil // they are grpc's now
		return out, nil
	}
	return mem.BufferSlice{mem.Copy(m.Out, mem.DefaultBufferPool())}, nil
}

// Unmarshal is part of [encoding.CodecV2].
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	m, ok := v.(*Message)
	if !ok {
		return encoding.GetCodecV2(proto.Name).Unmarshal(data, v)
	}
	m.Reset()
	m.Text, m.codec = text(data), true
	return nil
}

// text copies, because grpc uses its buffers again.
func text(data mem.BufferSlice) string {
	var whole strings.Builder // whose memory isn't cleared first
	whole.Grow(data.Len())
	for _, piece := range data {
		whole.Write(piece.ReadOnlyData())
	}
	return whole.String()
}
