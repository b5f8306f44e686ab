package wire_test

import (
	"bytes"
	"testing"

	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// TestCodecCarriesBytes: with the codec and with grpc's own a Message is the same.
func TestCodecCarriesBytes(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("0123456789"), 1000)
	for name, codec := range map[string]encoding.CodecV2{"ours": wire.Codec{}, "grpc's": encoding.GetCodecV2("proto")} {
		for _, body := range [][]byte{nil, []byte("short"), long} {
			for _, given := range []bool{false, true} {
				out, err := codec.Marshal(&wire.Message{Out: body, Given: given})
				if err != nil || !bytes.Equal(out.Materialize(), body) {
					t.Errorf("%s: %d bytes became %d: %v", name, len(body), out.Len(), err)
				}
				out.Free()
			}
		}
		received := &wire.Message{Text: "old", Out: long, Given: true}
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer("in two "), mem.SliceBuffer("pieces")}, received); err != nil || received.Text != "in two pieces" || received.Out != nil || received.Given {
			t.Errorf("%s: %q %v", name, received.Text, err)
		}
	}
}

// TestCodecCopiesWhatIsUsedAgain: a sender that writes to its buffer after it has sent, and grpc which does so
// with what it has received, change nothing of the message.
func TestCodecCopiesWhatIsUsedAgain(t *testing.T) {
	t.Parallel()
	buffer := bytes.Repeat([]byte("a"), 2000)
	out, err := wire.Codec{}.Marshal(&wire.Message{Out: buffer})
	if err != nil {
		t.Fatal(err)
	}
	received := new(wire.Message)
	if err := (wire.Codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer(buffer)}, received); err != nil {
		t.Fatal(err)
	}
	clear(buffer)
	if got := out.Materialize(); got[0] != 'a' || received.Text[0] != 'a' {
		t.Errorf("%q, %q", got[0], received.Text[0])
	}
}

// TestCodecLeavesOthersToProtobuf as the health service, which shares the server.
func TestCodecLeavesOthersToProtobuf(t *testing.T) {
	t.Parallel()
	out, err := wire.Codec{}.Marshal(wrapperspb.String("text"))
	if err != nil {
		t.Fatal(err)
	}
	back := &wrapperspb.StringValue{}
	if err := (wire.Codec{}).Unmarshal(out, back); err != nil || back.Value != "text" {
		t.Error(back, err)
	}
	if _, err := (wire.Codec{}).Marshal("no message"); err == nil {
		t.Error("no error")
	}
}
