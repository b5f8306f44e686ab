package extauthz_test

import (
	"context"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
)

// BenchmarkCheck is the service without its transport: the bytes of a request with twenty headers, an
// authorizer that reads one and sets one, the bytes of the answer. Beside it, generated code does the same.
func BenchmarkCheck(b *testing.B) {
	lines := &corev3.HeaderMap{}
	for _, name := range []string{
		":method", ":path", ":authority", ":scheme", "accept", "accept-encoding", "accept-language", "cache-control",
		"cookie", "user-agent", "referer", "x-request-id", "x-forwarded-for", "x-forwarded-proto", "origin",
		"content-type", "content-length", "authorization", "sec-fetch-mode", "dnt",
	} {
		value := "a value of some length"
		switch {
		case name[0] == ':':
			value = name
		case name == "content-length":
			value = "42"
		}
		lines.Headers = append(lines.Headers, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
	}
	msg, err := proto.Marshal(&authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: ":method", Path: ":path", Host: ":authority", Scheme: ":scheme", HeaderMap: lines,
		}},
		ContextExtensions: map[string]string{"policy": "one"},
	}})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("gatehouse", func(b *testing.B) {
		server := extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
			return exchange.Verdict{Allow: r.Header.Get("authorization") != "", Set: []exchange.Field{{Name: "x-user", Value: "ada"}}}, nil
		})), quiet)
		text := string(msg)
		out := server.Decide(b.Context(), text, nil)
		b.ReportAllocs()
		for b.Loop() {
			out = server.Decide(b.Context(), text, out[:0])
		}
		var answer authv3.CheckResponse
		if err := proto.Unmarshal(out, &answer); err != nil || answer.GetOkResponse() == nil {
			b.Fatal(err, answer.String())
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var in authv3.CheckRequest
			if err := proto.Unmarshal(msg, &in); err != nil {
				b.Fatal(err)
			}
			out := &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
				Headers: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-user", Value: "ada"}}},
			}}}
			if _, err := proto.Marshal(out); err != nil {
				b.Fatal(err)
			}
		}
	})
}
