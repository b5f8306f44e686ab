package rego_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// TestRequestsThatShareAttributesAreToldApart: what one request's input has in common with an earlier one's is
// taken from there, and nothing else is; and what isn't UTF-8 is refused all the same (S19).
func TestRequestsThatShareAttributesAreToldApart(t *testing.T) {
	t.Parallel()
	p := compile(t, `now := time.now_ns()
allow := {"allowed": true, "headers": {"x-seen": sprintf("%s %s %s", [input.attributes.request.http.method, input.attributes.request.http.scheme, input.attributes.request.http.protocol])}}`)
	for range 2 {
		for _, head := range []exchange.Head{
			{Method: "GET", Scheme: "http", Protocol: "HTTP/1.1", Path: "/"}, {Method: "GET", Scheme: "https", Protocol: "HTTP/1.1", Path: "/a"},
			{Method: "POST", Scheme: "http", Protocol: "HTTP/2", Path: "/"}, {Method: "BREW", Scheme: "http", Protocol: "HTTP/2", Path: "/"},
			{Method: "GET", Scheme: "http", Protocol: "HTTP/9", Path: "/"}, {Method: "http", Scheme: "GET", Protocol: "HTTP/2", Path: "/"},
		} {
			want := head.Method + " " + head.Scheme + " " + head.Protocol
			r := exchange.NewRequest(head, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil)
			if o := evaluate(t, p, r, nil); o.Cached || o.Decision.Headers[0].Value != want {
				t.Errorf("%+v, not %s", o, want)
			}
			head.Path = "/\xff"
			if o, err := p.Evaluate(t.Context(), exchange.NewRequest(head, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil), nil); err == nil {
				t.Errorf("%+v", o)
			}
		}
	}
}
