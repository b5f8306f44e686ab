package wire

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/runtime/protoiface"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Message carries one message's bytes through grpc's ordinary protobuf codec, so that an engine reads
// and writes them itself on whatever [grpc.Server] it is registered, beside services that use generated
// messages. It is a proto.Message in name only: reflection sees an empty message.
//
// Receiving copies the bytes once, because grpc reuses its buffer. Receiving never fails: what malformed
// bytes mean is the engine's decision, and grpc's own error would be the proxy's failure mode.
type Message struct {
	// Text is what was received.
	Text string
	// Out is what to send.
	Out []byte

	codec  bool    // a Codec has received it, and will send Out
	buffer *[]byte // Buffer's

	reflection carrier // here, so that ProtoReflect allocates nothing
}

var _ proto.Message = (*Message)(nil)

// Reset is called by the codec before a message is received.
func (m *Message) Reset() { m.Text, m.Out, m.codec, m.buffer = "", nil, false, nil }

// Buffer returns memory to append Out to, for a message that is sent once and then not used again. A [Codec]
// uses the memory again when Out is sent; with grpc's own codec it is nil.
func (m *Message) Buffer() []byte {
	if !m.codec {
		return nil
	}
	empty := answers.Get(0)
	m.buffer = empty
	return *empty
}

// ProtoReflect lets the codec find the methods that take and give the bytes.
func (m *Message) ProtoReflect() protoreflect.Message {
	m.reflection = carrier{Message: empty, message: m}
	return &m.reflection
}

var (
	empty   = (&emptypb.Empty{}).ProtoReflect()
	methods = &protoiface.Methods{
		Size: func(in protoiface.SizeInput) protoiface.SizeOutput {
			return protoiface.SizeOutput{Size: len(of(in.Message).Out)}
		},
		Marshal: func(in protoiface.MarshalInput) (protoiface.MarshalOutput, error) {
			return protoiface.MarshalOutput{Buf: append(in.Buf, of(in.Message).Out...)}, nil
		},
		Unmarshal: func(in protoiface.UnmarshalInput) (protoiface.UnmarshalOutput, error) {
			of(in.Message).Text = string(in.Buf)
			return protoiface.UnmarshalOutput{Flags: protoiface.UnmarshalInitialized}, nil
		},
		CheckInitialized: func(protoiface.CheckInitializedInput) (protoiface.CheckInitializedOutput, error) {
			return protoiface.CheckInitializedOutput{}, nil
		},
	}
)

type carrier struct {
	protoreflect.Message
	message *Message
}

// of is the inverse of ProtoReflect. methods are found by way of a carrier only.
func of(m protoreflect.Message) *Message {
	return m.(*carrier).message //nolint:forcetypeassert // see above
}

func (c *carrier) ProtoMethods() *protoiface.Methods    { return methods }
func (c *carrier) Interface() protoreflect.ProtoMessage { return c.message }
func (c *carrier) IsValid() bool                        { return true }
