package tracing_test

import (
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/tracing"
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
	other   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

// started returns the span of a request whose header and metadata are "name: value" lines.
func started(t *testing.T, head exchange.Head, header, inMetadata []string) sdktrace.ReadOnlySpan {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sdktrace.AlwaysSample())).Tracer("test")
	var fields []exchange.Field
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		fields = append(fields, exchange.Field{Name: name, Value: value})
	}
	md := metadata.MD{}
	for _, line := range inMetadata {
		name, value, _ := strings.Cut(line, ": ")
		md.Append(name, value)
	}
	r := exchange.NewRequest(head, exchange.Conn{}, exchange.NewHeader(fields...), exchange.Body{}, nil)
	_, span := tracing.Start(metadata.NewIncomingContext(t.Context(), md), tracer, "ext_authz", r)
	span.End()
	return recorder.Ended()[0]
}

// TestWhoseChildASpanIs: Envoy's word in the metadata before the request's, which any client can write; several
// lines of one name are none.
func TestWhoseChildASpanIs(t *testing.T) {
	t.Parallel()
	w3c, b3 := "traceparent: 00-"+traceID+"-"+spanID+"-01", "b3: "+traceID+"-"+spanID+"-1"
	found := traceID + " " + spanID + " true"
	for name, test := range map[string]struct {
		header, metadata []string
		want             string // trace, span and whether it is sampled; "": a root
	}{
		"nothing":                      {},
		"the request's":                {[]string{w3c}, nil, found},
		"the proxy's":                  {nil, []string{w3c}, found},
		"the proxy's first":            {[]string{"traceparent: " + other}, []string{w3c}, found},
		"the proxy's in B3":            {[]string{"traceparent: " + other}, []string{b3}, found},
		"not sampled":                  {nil, []string{"traceparent: 00-" + traceID + "-" + spanID + "-00"}, traceID + " " + spanID + " false"},
		"the proxy's is no span":       {[]string{w3c}, []string{"traceparent: 00-" + strings.Repeat("0", 32) + "-" + spanID + "-01"}, found},
		"two lines":                    {[]string{w3c, "traceparent: " + other}, nil, ""},
		"malformed":                    {[]string{w3c + "x"}, nil, ""},
		"B3 in one header":             {[]string{b3}, nil, found},
		"B3, debug, with its parent":   {[]string{"b3: " + traceID + "-" + spanID + "-d-05e3ac9a4f6e3b90"}, nil, found},
		"B3, nothing said of sampling": {[]string{"b3: " + traceID + "-" + spanID}, nil, traceID + " " + spanID + " false"},
		"B3, a decision alone":         {[]string{"b3: 0"}, nil, ""},
		"B3 in several headers":        {[]string{"x-b3-traceid: " + traceID, "x-b3-spanid: " + spanID, "x-b3-sampled: 1"}, nil, found},
		"B3, debug, 64 bits":           {[]string{"x-b3-traceid: " + traceID[16:], "x-b3-spanid: " + spanID, "x-b3-flags: 1"}, nil, "0000000000000000" + traceID[16:] + " " + spanID + " true"},
		"B3 that is none":              {[]string{"x-b3-traceid: ../../etc/passwd", "x-b3-spanid: " + spanID}, nil, ""},
		"B3, an id without the other":  {[]string{"x-b3-traceid: " + traceID}, nil, ""},
		"W3C before B3":                {[]string{"b3: 0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1", w3c}, nil, found},
	} {
		parent := started(t, exchange.Head{}, test.header, test.metadata).Parent()
		got := ""
		if parent.IsValid() {
			got = fmt.Sprintf("%s %s %v", parent.TraceID(), parent.SpanID(), parent.IsSampled())
			if !parent.IsRemote() {
				t.Errorf("%s: not remote", name)
			}
		}
		if got != test.want {
			t.Errorf("%s: a child of %q, want %q", name, got, test.want)
		}
	}
}

// TestS47ASpanHoldsNoCredential: the method and the host, and neither a path nor what could be a credential.
func TestS47ASpanHoldsNoCredential(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ method, authority, wantMethod, wantHost string }{
		{"GET", "shop.example:8443", "GET", "shop.example"},
		{"PATCH", "[2001:db8::1]:80", "PATCH", "2001:db8::1"},
		{"s3cret-token", "alice:s3cret@shop.example", "_OTHER", "shop.example"},
		{"get", "a@b@shop.example:1", "_OTHER", "shop.example"},
		{"CONNECT", strings.Repeat("x", 254), "CONNECT", ""},
	} {
		head := exchange.Head{Method: test.method, Authority: test.authority, Path: "/s3cret?s3cret", ID: "s3cret"}
		span := started(t, head, []string{"authorization: s3cret", "baggage: user=s3cret"}, []string{"baggage: user=s3cret"})
		want := []attribute.KeyValue{attribute.String("http.request.method", test.wantMethod)}
		if test.wantHost != "" {
			want = append(want, attribute.String("server.address", test.wantHost))
		}
		if got := fmt.Sprint(span.Attributes()); got != fmt.Sprint(want) || span.Name() != "ext_authz" {
			t.Errorf("%s %s: %s, want %v", test.method, test.authority, got, want)
		}
	}
}
