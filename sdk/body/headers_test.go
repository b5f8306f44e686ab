package body_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

func newRequest(method, data string, fields ...exchange.Field) *exchange.Request {
	return exchange.NewRequest(exchange.Head{Method: method, Path: "/"}, exchange.Conn{},
		exchange.NewHeader(fields...), exchange.BufferedBody([]byte(data), false), nil)
}

func newResponse(status int, data string, fields ...exchange.Field) *exchange.Response {
	return exchange.NewResponse(status, exchange.NewHeader(fields...), exchange.BufferedBody([]byte(data), false))
}

func bytesOf(t *testing.T, b *exchange.Body) string {
	t.Helper()
	data, err := b.Bytes(64 << 20)
	if err != nil || b.Err() != nil {
		t.Fatal(err, b.Err())
	}
	return string(data)
}

func TestRequestsAreDecoded(t *testing.T) {
	t.Parallel()
	r := newRequest("POST", encoded(t, "hello", body.Brotli), exchange.Field{Name: "Content-Encoding", Value: "br"},
		exchange.Field{Name: "Content-Digest", Value: "sha-256=:X:"})
	if err := body.DecodeRequest(r, body.Limit{}); err != nil {
		t.Fatal(err)
	}
	if got := bytesOf(t, &r.Body); got != "hello" || r.Header.Has("content-encoding") || r.Header.Has("content-digest") {
		t.Errorf("%q, %v", got, r.Header.HTTP())
	}
	r = newRequest("POST", "x", exchange.Field{Name: "content-encoding", Value: "compress"})
	var reply *exchange.Reply
	if err := body.DecodeRequest(r, body.Limit{}); !errors.As(err, &reply) || reply.Code != 415 || !strings.Contains(reply.Header.Get("Accept-Encoding"), "br") {
		t.Errorf("unknown coding: %v", err)
	}
	if r.Header.Get("content-encoding") != "compress" {
		t.Error("an unknown coding was taken from the headers")
	}
}

func TestResponsesAreDecoded(t *testing.T) {
	t.Parallel()
	r := newResponse(200, encoded(t, "hello", body.Gzip, body.Zstd), exchange.Field{Name: "content-encoding", Value: "gzip"},
		exchange.Field{Name: "content-encoding", Value: "zstd"}, exchange.Field{Name: "etag", Value: `"v1"`})
	if err := body.DecodeResponse(r, body.Limit{}); err != nil {
		t.Fatal(err)
	}
	if got := bytesOf(t, &r.Body); got != "hello" || r.Header.Has("content-encoding") || r.Header.Get("etag") != `W/"v1"` {
		t.Errorf("%q, %v", got, r.Header.HTTP())
	}
}

func TestBodiesAreEditedUnderTheirCompression(t *testing.T) {
	t.Parallel()
	upper, err := body.RewriteJSON(body.MapJSON("/name", 0, func(v []byte) ([]byte, error) { return []byte(strings.ToUpper(string(v))), nil }))
	if err != nil {
		t.Fatal(err)
	}
	for _, coding := range append(everyCoding, "") {
		var codings []string
		var fields []exchange.Field
		if coding != "" {
			codings, fields = []string{coding}, []exchange.Field{{Name: "content-encoding", Value: coding}}
		}
		packed := encoded(t, `{"name":"ali"}`, codings...)
		r, q := newResponse(200, packed, fields...), newRequest("POST", packed, fields...)
		if err := errors.Join(body.EditResponse(r, body.Limit{}, upper), body.EditRequest(q, body.Limit{}, upper)); err != nil {
			t.Fatal(err)
		}
		for _, b := range []*exchange.Body{&r.Body, &q.Body} {
			got, err := run(decoder(t, coding, body.Limit{}), strings.NewReader(bytesOf(t, b)))
			if err != nil || got != `{"name":"ALI"}` {
				t.Errorf("%s: %q, %v", coding, got, err)
			}
		}
		if r.Header.Get("content-encoding") != coding || q.Header.Get("content-encoding") != coding {
			t.Errorf("%s: headers %v", coding, r.Header.HTTP())
		}
	}
	q := newRequest("POST", "no json")
	var reply *exchange.Reply
	if err := body.EditRequest(q, body.Limit{}, upper); err != nil || !errors.As(q.Body.Err(), &reply) || reply.Code != 400 {
		t.Errorf("a malformed request: %v, %v", err, q.Body.Err())
	}
}

func TestWhichResponsesAreCompressed(t *testing.T) {
	t.Parallel()
	field := func(line string) exchange.Field {
		name, value, _ := strings.Cut(line, ": ")
		return exchange.Field{Name: name, Value: value}
	}
	const all = "gzip, deflate, br, zstd"
	for name, c := range map[string]struct {
		method, accept string
		status         int
		header         string // "|" between lines
		compression    body.Compression
		want, vary     string
	}{
		"text":                      {accept: all, header: "content-type: text/html; charset=utf-8", want: "br", vary: "Accept-Encoding"},
		"JSON of a kind":            {accept: all, header: "content-type: application/problem+json", want: "br", vary: "Accept-Encoding"},
		"an image":                  {accept: all, header: "content-type: image/png"},
		"no type":                   {accept: all},
		"a broken type":             {accept: all, header: "content-type: ;;"},
		"types to choose":           {accept: all, header: "content-type: image/bmp", compression: body.Compression{Types: []string{"image/"}}, want: "br", vary: "Accept-Encoding"},
		"text isn't of these types": {accept: all, header: "content-type: text/plain", compression: body.Compression{Types: []string{"application/json"}}},
		"codings to choose":         {accept: all, header: "content-type: text/plain", compression: body.Compression{Codings: []string{body.Gzip}}, want: "gzip", vary: "Accept-Encoding"},
		"not accepted":              {accept: "deflate", header: "content-type: text/plain", vary: "Accept-Encoding"},
		"nothing said":              {header: "content-type: text/plain", vary: "Accept-Encoding"},
		"vary stands":               {accept: all, header: "content-type: text/plain|vary: Origin, accept-encoding", want: "br", vary: "Origin, accept-encoding"},
		"another vary":              {accept: all, header: "content-type: text/plain|vary: Origin", want: "br", vary: "Origin|Accept-Encoding"},
		"encoded":                   {accept: all, header: "content-type: text/plain|content-encoding: gzip"},
		"must not be transformed":   {accept: all, header: "content-type: text/plain|cache-control: public, No-Transform"},
		"small":                     {accept: all, header: "content-type: text/plain|content-length: 1023"},
		"large":                     {accept: all, header: "content-type: text/plain|content-length: 1024", want: "br", vary: "Accept-Encoding"},
		"small enough":              {accept: all, header: "content-type: text/plain|content-length: 20", compression: body.Compression{MinSize: 10}, want: "br", vary: "Accept-Encoding"},
		"a part":                    {accept: all, header: "content-type: text/plain|content-range: bytes 0-4/10", status: 206},
		"HEAD":                      {accept: all, header: "content-type: text/plain", method: "HEAD"},
		"not modified":              {accept: all, header: "content-type: text/plain", status: 304},
	} {
		if c.method == "" {
			c.method = "GET"
		}
		if c.status == 0 {
			c.status = 200
		}
		q := newRequest(c.method, "", field("accept-encoding: "+c.accept))
		if c.accept == "" {
			q = newRequest(c.method, "")
		}
		r := newResponse(c.status, "hello", field(`etag: "v1"`))
		for line := range strings.SplitSeq(c.header, "|") {
			if f := field(line); f.Name != "" {
				r.Header.Add(f.Name, f.Value)
			}
		}
		before := r.Header.Get("content-encoding")
		coding, err := body.EncodeResponse(q, r, c.compression)
		if err != nil || coding != c.want || strings.Join(r.Header.Values("vary"), "|") != c.vary {
			t.Errorf("%s: %q, vary %q, %v", name, coding, r.Header.Values("vary"), err)
		}
		if coding == "" {
			if r.Header.Get("etag") != `"v1"` || r.Header.Get("content-encoding") != before || bytesOf(t, &r.Body) != "hello" {
				t.Errorf("%s: changed, %v", name, r.Header.HTTP())
			}
			continue
		}
		got, err := run(decoder(t, coding, body.Limit{}), strings.NewReader(bytesOf(t, &r.Body)))
		if err != nil || got != "hello" || r.Header.Get("content-encoding") != coding || r.Header.Get("etag") != `W/"v1"` {
			t.Errorf("%s: %q, %v, %v", name, got, r.Header.HTTP(), err)
		}
	}
}

func TestUnknownCodingsAreNotAccepted(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"gzip, deflate, br, zstd":   "gzip, deflate, br, zstd",
		"compress;q=1, GZip;q=0.5":  "GZip;q=0.5",
		"compress":                  "identity",
		"*":                         "identity",
		"br;q=0, *;q=0.5":           "br;q=0",
		"identity;q=0.1, x-gzip":    "identity;q=0.1, x-gzip",
		"":                          "identity",
		"gzip;q=0.5 ; x=1,dcb, dcz": "gzip;q=0.5 ; x=1",
	} {
		r := newRequest("GET", "", exchange.Field{Name: "accept-encoding", Value: accept})
		if body.AcceptKnown(r); r.Header.Get("accept-encoding") != want {
			t.Errorf("%q: %q, want %q", accept, r.Header.Get("accept-encoding"), want)
		}
	}
	r := newRequest("GET", "")
	body.AcceptKnown(r)
	if got := r.Header.Values("accept-encoding"); len(got) != 1 || got[0] != "identity" {
		t.Errorf("nothing said: %q", got)
	}
}

func TestTheCodingThatIsAcceptedMost(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"gzip":                           "gzip",
		"x-gzip":                         "gzip",
		"GZIP":                           "gzip",
		"gzip, br":                       "br",
		"br;q=0.5, gzip":                 "gzip",
		"br;q=0.5, gzip;q=0.5":           "br",
		"br;q=0, gzip;q=0":               "",
		"*":                              "br",
		"*;q=0":                          "",
		"br;q=0, *":                      "zstd",
		"*;q=0, gzip;q=0.1":              "gzip",
		"identity, gzip;q=0.5":           "",
		"identity;q=0.5, gzip;q=0.5":     "gzip",
		"gzip;q=2":                       "",
		"gzip;q=nan":                     "",
		"gzip;q=, br; Q = 0.3":           "br",
		"":                               "",
		"deflate, identity;q=0":          "",
		"gzip;level=9;q=0.1, zstd;q=0.2": "zstd",
	} {
		q := newRequest("GET", "", exchange.Field{Name: "accept-encoding", Value: accept})
		r := newResponse(200, "hello", exchange.Field{Name: "content-type", Value: "text/plain"})
		if got, err := body.EncodeResponse(q, r, body.Compression{}); err != nil || got != want {
			t.Errorf("%q: %q, %v", accept, got, err)
		}
	}
}
