package extauthz

import (
	"net/netip"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// fullRequest has every field that Envoy sets.
func fullRequest() *authv3.CheckRequest {
	address := func(host string, port uint32) *corev3.Address {
		return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
		}}}
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:            &authv3.AttributeContext_Peer{Address: address("192.0.2.7", 4711), Principal: "spiffe://a/b"},
		Destination:       &authv3.AttributeContext_Peer{Address: address("::ffff:10.0.0.1", 443)},
		ContextExtensions: map[string]string{"gatehouse.policy": "tenant/main", "k": ""},
		TlsSession:        &authv3.AttributeContext_TLSSession{Sni: "shop.example"},
		Request: &authv3.AttributeContext_Request{
			Time: timestamppb.New(timestamppb.Now().AsTime()),
			Http: &authv3.AttributeContext_HttpRequest{
				Id: "17", Method: "POST", Path: "/a?b=c", Host: "shop.example", Scheme: "https", Size: -1,
				Protocol: "HTTP/2", RawBody: []byte{0, 255}, HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
					{Key: ":path", RawValue: []byte("/a?b=c")},
					{Key: "cookie", RawValue: []byte("a=b")},
					{Key: "cookie", Value: "c=d"},
					{Key: "x-raw", RawValue: []byte{0xff}},
				}},
			},
		},
	}}
}

// FuzzDecodeAgreesWithGeneratedCode holds the view against generated code: what that accepts, the view
// must accept with the same values, so that nothing valid is refused and nothing is read differently.
func FuzzDecodeAgreesWithGeneratedCode(f *testing.F) {
	seed, err := proto.Marshal(fullRequest())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(append(seed, seed...)) // everything repeated: messages merge
	f.Add([]byte("\x0a\x03\x22\x01\x00"))
	f.Fuzz(func(t *testing.T, msg []byte) {
		var want authv3.CheckRequest
		if proto.Unmarshal(msg, &want) != nil {
			_ = new(decoded).decode(string(msg)) // must not panic
			return
		}
		var got view
		if err := got.parse(string(msg)); err != nil {
			if len(want.GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders()) <= maxLines {
				t.Fatalf("refused what generated code accepts: %v", err)
			}
			return
		}
		compare(t, &got, want.GetAttributes())
	})
}

func compare(t *testing.T, got *view, want *authv3.AttributeContext) {
	t.Helper()
	http := want.GetRequest().GetHttp()
	same(t, "present", got.hasHTTP, http != nil)
	same(t, "id", got.http.id, http.GetId())
	same(t, "method", got.http.method, http.GetMethod())
	same(t, "path", got.http.path, http.GetPath())
	same(t, "host", got.http.host, http.GetHost())
	same(t, "scheme", got.http.scheme, http.GetScheme())
	same(t, "protocol", got.http.protocol, http.GetProtocol())
	same(t, "body", got.http.body, http.GetBody())
	same(t, "raw body", got.http.rawBody, string(http.GetRawBody()))
	same(t, "sni", got.serverName, want.GetTlsSession().GetSni())
	same(t, "seconds", got.seconds, want.GetRequest().GetTime().GetSeconds())
	same(t, "nanos", got.nanos, want.GetRequest().GetTime().GetNanos())
	samePeer(t, "source", got.source, want.GetSource())
	samePeer(t, "destination", got.destination, want.GetDestination())
	sameMap(t, "extensions", got.extensions, want.GetContextExtensions())
	sameMap(t, "headers", got.http.joined, http.GetHeaders())
	lines := http.GetHeaderMap().GetHeaders()
	same(t, "number of lines", len(got.http.lines), len(lines))
	for i, line := range lines {
		value := line.GetValue()
		if len(line.GetRawValue()) > 0 {
			value = string(line.GetRawValue())
		}
		same(t, "line", got.http.lines[i], exchange.Field{Name: line.GetKey(), Value: value})
	}
}

func samePeer(t *testing.T, what string, got peer, want *authv3.AttributeContext_Peer) {
	t.Helper()
	same(t, what+" principal", got.principal, want.GetPrincipal())
	same(t, what+" host", got.address.host, want.GetAddress().GetSocketAddress().GetAddress())
	same(t, what+" port", got.address.port, want.GetAddress().GetSocketAddress().GetPortValue())
}

func sameMap(t *testing.T, what string, got extensions, want map[string]string) {
	t.Helper()
	same(t, what+" size", len(got), len(want))
	for key, value := range want {
		have, ok := got.Extension(key)
		same(t, what+" presence", ok, true)
		same(t, what+" "+key, have, value)
	}
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, generated code %v", what, got, want)
	}
}

func TestRequestViewOfWhatEnvoySends(t *testing.T) {
	t.Parallel()
	msg, err := proto.Marshal(fullRequest())
	if err != nil {
		t.Fatal(err)
	}
	d := new(decoded)
	r, err := &d.request, d.decode(string(msg))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "path", r.Path(), "/a?b=c")
	same(t, "lines", r.Header.Len(), 3)
	same(t, "peer", r.Conn().Peer, netip.MustParseAddrPort("192.0.2.7:4711"))
	same(t, "client", r.Conn().Client, netip.MustParseAddr("192.0.2.7"))
	same(t, "destination", r.Conn().Destination, netip.MustParseAddrPort("10.0.0.1:443"))
	same(t, "principal", r.Conn().Principal, "spiffe://a/b")
	policy, _ := r.Extension("gatehouse.policy")
	same(t, "policy", policy, "tenant/main")
	body, err := r.Body.Bytes(10)
	same(t, "body", string(body), "\x00\xff")
	same(t, "body error", err, nil)
}
