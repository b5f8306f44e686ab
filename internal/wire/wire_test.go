package wire_test

import (
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// FuzzStruct holds both directions of Structs against generated code.
func FuzzStruct(f *testing.F) {
	for _, fields := range []map[string]any{
		{},
		{"text": "a", "number": -1.5, "yes": true, "no": false, "nothing": nil},
		{"nested": map[string]any{"list": []any{"a", nil, []any{}, map[string]any{}}, "long": strings.Repeat("x", 300)}},
	} {
		s, err := structpb.NewStruct(fields)
		if err != nil {
			f.Fatal(err)
		}
		msg, err := proto.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	f.Add([]byte("\n\x07\n\x01a\x12\x02\x08\x00\n\x03\n\x01b"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		got := map[string]any{}
		err := wire.ReadStruct(got, string(msg))
		var want structpb.Struct
		if proto.Unmarshal(msg, &want) != nil {
			return
		}
		if err != nil {
			if strings.Contains(err.Error(), "malformed") && len(msg) < 64 {
				t.Fatalf("refused what generated code accepts: %v", err)
			}
			return // nested deeper than we read
		}
		if diff := cmp.Diff(want.AsMap(), got, equateNaN); diff != "" {
			t.Fatal(diff)
		}
		out, err := wire.AppendStruct(nil, got)
		if err != nil {
			t.Fatal(err)
		}
		var again structpb.Struct
		if err := proto.Unmarshal(out, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.AsMap(), again.AsMap(), equateNaN); diff != "" {
			t.Fatal(diff)
		}
	})
}

var equateNaN = cmp.Comparer(func(a, b float64) bool { return a == b || a != a && b != b })

func TestStructRefusesWhatItCantSay(t *testing.T) {
	t.Parallel()
	cyclic := map[string]any{}
	cyclic["self"] = cyclic
	for name, fields := range map[string]map[string]any{
		"a struct":         {"a": struct{}{}},
		"an int":           {"a": 1},
		"text not UTF-8":   {"a": "\xff"},
		"name not UTF-8":   {"\xff": "a"},
		"inside of a list": {"a": []any{"b", 1}},
		"a cycle":          cyclic,
	} {
		if _, err := wire.AppendStruct(nil, fields); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestHeaderOption(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("v", 20_000)
	dst := wire.AppendHeader(nil, 2, wire.Value, "x-a", long, wire.Append)
	dst = wire.AppendHeader(dst, 2, wire.RawValue, "x-b", "\xff", wire.Overwrite)
	var got authv3.OkHttpResponse
	if err := proto.Unmarshal(dst, &got); err != nil {
		t.Fatal(err)
	}
	a, b := got.GetHeaders()[0], got.GetHeaders()[1]
	if a.GetHeader().GetValue() != long || !a.GetAppend().GetValue() || a.GetAppendAction() != corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD {
		t.Errorf("appended header %v", a.GetAppendAction())
	}
	if string(b.GetHeader().GetRawValue()) != "\xff" || b.GetAppend() == nil || b.GetAppend().GetValue() ||
		b.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
		t.Errorf("overwritten header %v", b)
	}
}

func TestHeaderMapKeepsLinesAndBytes(t *testing.T) {
	t.Parallel()
	msg, err := proto.Marshal(&corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "a", Value: "1"}, {Key: "a", RawValue: []byte("\xff")}, {Key: "b"}, {Key: "c", Value: "joined", RawValue: []byte("raw")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	lines, err := wire.AppendHeaderMap(nil, string(msg))
	if err != nil || len(lines) != 4 || lines[1].Value != "\xff" || lines[2].Name != "b" || lines[3].Value != "raw" {
		t.Errorf("%q, %v", lines, err)
	}
	for name, bad := range map[string]string{"cut": "\x0a\x05\x0a", "group": "\x0b", "text": "\x0a\x03\x0a\x01\xff", "number 0": "\x02\x00"} {
		if _, err := wire.AppendHeaderMap(nil, bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestMessageTravelsThroughTheOrdinaryCodec(t *testing.T) {
	t.Parallel()
	out, err := proto.Marshal(&wire.Message{Out: []byte("any bytes")})
	if err != nil || string(out) != "any bytes" || proto.Size(&wire.Message{Out: out}) != len(out) {
		t.Errorf("sent %q, %v", out, err)
	}
	in := &wire.Message{Text: "earlier"}
	if err := proto.Unmarshal([]byte("\xff not protobuf"), in); err != nil || in.Text != "\xff not protobuf" {
		t.Errorf("received %q, %v", in.Text, err)
	}
}
