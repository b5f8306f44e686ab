package extproc

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

func seeds(tb testing.TB) [][]byte {
	attributes, err := structpb.NewStruct(map[string]any{"source.address": "192.0.2.1:5", "n": 1.5, "b": true})
	if err != nil {
		tb.Fatal(err)
	}
	lines := &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: ":path", RawValue: []byte("/")}, {Key: "x", Value: "y"}, {Key: "x", RawValue: []byte{255}},
	}}
	headers := &extprocv3.HttpHeaders{Headers: lines, EndOfStream: true}
	body := &extprocv3.HttpBody{Body: []byte("body"), EndOfStream: true, GrpcMessageCompressed: true}
	var out [][]byte
	for _, m := range []*extprocv3.ProcessingRequest{
		{
			Request:         &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: headers},
			Attributes:      map[string]*structpb.Struct{"envoy.filters.http.ext_proc": attributes},
			MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"ns": attributes}},
			ProtocolConfig: &extprocv3.ProtocolConfiguration{
				RequestBodyMode: modev3.ProcessingMode_FULL_DUPLEX_STREAMED, SendBodyWithoutWaitingForHeaderResponse: true,
			},
		},
		{Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: headers}, ObservabilityMode: true},
		{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: body}},
		{Request: &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: &extprocv3.HttpTrailers{Trailers: lines}}},
	} {
		msg, err := proto.Marshal(m)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, msg)
	}
	return append(out, append(append([]byte{}, out[0]...), out[0]...), append(append([]byte{}, out[0]...), out[2]...))
}

// FuzzDecodeAgreesWithGeneratedCode holds the decoder against generated code: what that accepts must be
// accepted with the same values.
func FuzzDecodeAgreesWithGeneratedCode(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, msg []byte) { agree(t, msg) })
}

// TestDecodeAgreesWithGeneratedCode is the same over messages that are spoiled at random.
func TestDecodeAgreesWithGeneratedCode(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	rounds := 50_000
	if text := os.Getenv("EXTPROC_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	all := seeds(t)
	accepted := 0
	for range rounds {
		msg := slices.Clone(all[random.IntN(len(all))])
		for range random.IntN(4) {
			spoil(random, &msg)
		}
		if agree(t, msg) {
			accepted++
		}
	}
	if accepted < rounds/10 {
		t.Errorf("generated code accepts only %d of %d: nothing is compared", accepted, rounds)
	}
}

// spoil changes, cuts out or repeats a piece.
func spoil(random *rand.Rand, msg *[]byte) {
	m := *msg
	if len(m) == 0 {
		return
	}
	from := random.IntN(len(m))
	to := min(from+random.IntN(8), len(m))
	switch random.IntN(4) {
	case 0:
		m[from] = byte(random.Uint32())
	case 1:
		m = slices.Delete(m, from, to)
	case 2:
		m = slices.Insert(m, to, m[from:to]...)
	case 3:
		m = append(m, m[from:]...)
	}
	*msg = m
}

// agree holds the decoder against generated code, and reports whether that accepts the message.
func agree(t *testing.T, msg []byte) bool {
	t.Helper()
	var got message
	err := got.parse(string(msg))
	var want extprocv3.ProcessingRequest
	if proto.Unmarshal(msg, &want) != nil {
		return false
	}
	if err != nil {
		t.Fatalf("refused what generated code accepts: %v: %x", err, msg)
	}
	compare(t, &got, &want)
	return true
}

func compare(t *testing.T, got *message, want *extprocv3.ProcessingRequest) {
	t.Helper()
	var k kind
	var lines *corev3.HeaderMap
	var end bool
	var body *extprocv3.HttpBody
	switch r := want.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		k, lines, end = requestHeaders, r.RequestHeaders.GetHeaders(), r.RequestHeaders.GetEndOfStream()
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		k, lines, end = responseHeaders, r.ResponseHeaders.GetHeaders(), r.ResponseHeaders.GetEndOfStream()
	case *extprocv3.ProcessingRequest_RequestBody:
		k, body, end = requestBody, r.RequestBody, r.RequestBody.GetEndOfStream()
	case *extprocv3.ProcessingRequest_ResponseBody:
		k, body, end = responseBody, r.ResponseBody, r.ResponseBody.GetEndOfStream()
	case *extprocv3.ProcessingRequest_RequestTrailers:
		k, lines = requestTrailers, r.RequestTrailers.GetTrailers()
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		k, lines = responseTrailers, r.ResponseTrailers.GetTrailers()
	}
	same(t, "kind", got.kind, k)
	same(t, "end", got.endOfStream, end)
	same(t, "body", got.body, string(body.GetBody()))
	same(t, "empty end", got.endEmpty, body.GetEndOfStreamWithoutMessage())
	same(t, "compressed", got.compressed, body.GetGrpcMessageCompressed())
	same(t, "observability", got.observability, want.GetObservabilityMode())
	same(t, "config", got.config.present, want.GetProtocolConfig() != nil)
	same(t, "request mode", got.config.request, bodyMode(want.GetProtocolConfig().GetRequestBodyMode()))
	same(t, "response mode", got.config.response, bodyMode(want.GetProtocolConfig().GetResponseBodyMode()))
	same(t, "no wait", got.config.noWait, want.GetProtocolConfig().GetSendBodyWithoutWaitingForHeaderResponse())
	same(t, "number of lines", len(got.lines), len(lines.GetHeaders()))
	for i, line := range lines.GetHeaders() {
		value := line.GetValue()
		if len(line.GetRawValue()) > 0 {
			value = string(line.GetRawValue())
		}
		same(t, "line", got.lines[i], exchange.Field{Name: line.GetKey(), Value: value})
	}
	attrs := attributes{raw: got.attributes}
	for name, value := range want.GetAttributes()["envoy.filters.http.ext_proc"].GetFields() {
		if text, ok := value.GetKind().(*structpb.Value_StringValue); ok {
			have, _ := attrs.get(name)
			same(t, "attribute "+name, have, text.StringValue)
		}
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, generated code %v", what, got, want)
	}
}
