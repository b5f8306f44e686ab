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
			out, err := codec.Marshal(&wire.Message{Out: body})
			if err != nil || !bytes.Equal(out.Materialize(), body) {
				t.Errorf("%s: %d bytes became %d: %v", name, len(body), out.Len(), err)
			}
			out.Free()
		}
		received := &wire.Message{Text: "old", Out: long}
		if err := codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer("in two "), mem.SliceBuffer("pieces")}, received); err != nil || received.Text != "in two pieces" || received.Out != nil {
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
	if err := (wire.Codec{}).Unmarshal(out, back); err != nil || back.GetValue() != "text" {
		t.Error(back, err)
	}
	if _, err := (wire.Codec{}).Marshal("no message"); err == nil {
		t.Error("no error")
	}
}

// TestAnswersInLentMemory: each answer is what was written to it, however long, while earlier ones are being sent
// and after their memory was used again.
func TestAnswersInLentMemory(t *testing.T) {
	t.Parallel()
	var sending []mem.BufferSlice
	check := func(i int) {
		want := bytes.Repeat([]byte{byte('a' + i)}, 1<<i)
		if got := sending[i].Materialize(); !bytes.Equal(got, want) {
			t.Errorf("answer %d became %d bytes of %q", i, len(got), got[:1])
		}
	}
	for range 3 {
		sending = nil
		for i := range 18 {
			m := new(wire.Message)
			if err := (wire.Codec{}).Unmarshal(mem.BufferSlice{mem.SliceBuffer("question")}, m); err != nil {
				t.Fatal(err)
			}
			m.Out = append(m.Buffer(), bytes.Repeat([]byte{byte('a' + i)}, 1<<i)...)
			out, err := wire.Codec{}.Marshal(m)
			if err != nil || m.Out != nil {
				t.Fatal(m.Out, err)
			}
			sending = append(sending, out)
		}
		for i := range sending {
			check(i)
			sending[i].Free()
		}
	}
}

// TestPooledBuffersHoldNothingOfOthers, whose requests carry credentials.
func TestPooledBuffersHoldNothingOfOthers(t *testing.T) {
	t.Parallel()
	var p wire.Pool
	for _, size := range []int{0, 1, 1500, 2048, 2049, 20_000, 2_000_000} {
		for range 4 {
			b := p.Get(size)
			if len(*b) != size || bytes.ContainsFunc(*b, func(r rune) bool { return r != 0 }) {
				t.Fatalf("a buffer of %d bytes, %d were asked for, or not zero", len(*b), size)
			}
			for i := range *b {
				(*b)[i] = 'x'
			}
			p.Put(b)
		}
	}
}
