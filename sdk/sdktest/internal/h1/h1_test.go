package h1_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/h1"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// frames writes down what comes.
type frames struct{ strings.Builder }

func (f *frames) Headers(h []link.Field, end bool) {
	f.WriteString("H")
	for _, one := range h {
		fmt.Fprintf(f, " %s=%s", one.Name, one.Value)
	}
	f.end(end)
}

func (f *frames) Data(p []byte, end bool) {
	fmt.Fprintf(f, "D %s", p)
	f.end(end)
}

func (f *frames) Trailers(h []link.Field) {
	fmt.Fprintf(f, "T %s=%s", h[0].Name, h[0].Value)
	f.end(true)
}
func (f *frames) Reset() { f.WriteString("R;") }

func (f *frames) end(end bool) {
	if end {
		f.WriteString(" end")
	}
	f.WriteString(";")
}

func method(name string) func() string { return func() string { return name } }

// TestAResponseEndsWhereItsFramingSays, and what breaks off isn't complete.
func TestAResponseEndsWhereItsFramingSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, method, bytes, want string }{
		{"content-length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nonetwo", "H :status=200 content-length=3;D one;D  end;"},
		{"chunks", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n4\r\n,two\r\n0\r\n\r\n", "H :status=200 transfer-encoding=chunked;D one,two;D  end;"},
		{"trailers", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\nx-t: 1\r\n\r\n", "H :status=200 transfer-encoding=chunked;D one;T x-t=1 end;"},
		{"the connection's end", "GET", "HTTP/1.1 200 OK\r\n\r\none", "H :status=200;D one;D  end;"},
		{"no body", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "H :status=204 end;"},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", "H :status=200 content-length=3 end;"},
		{"100 before it", "GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "H :status=100 end;H :status=200 content-length=0 end;"},
		{"an upgrade", "GET", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\none", "H :status=101 upgrade=x;D one;D  end;"},
		{"too short", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none", "H :status=200 content-length=9;D one;R;"},
		{"no last chunk", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n", "H :status=200 transfer-encoding=chunked;D one;R;"},
		{"no chunk", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\none\r\n", "H :status=200 transfer-encoding=chunked;R;"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var whole, single frames
			at := h1.ResponseDecoder(&whole, method(c.method))
			at.Feed([]byte(c.bytes))
			at.Close()
			if whole.String() != c.want {
				t.Errorf("%s, not %s", whole.String(), c.want)
			}
			at = h1.ResponseDecoder(&single, method(c.method))
			for _, b := range []byte(c.bytes) {
				at.Feed([]byte{b})
			}
			at.Close()
			joined := strings.NewReplacer("D o;D n;D e;D ,;D t;D w;D o;", "D one,two;", "D o;D n;D e;", "D one;").Replace(single.String())
			if joined != c.want {
				t.Errorf("byte by byte %s, not %s", joined, c.want)
			}
		})
	}
}

// TestAMessageIsFramedByItsHeaders as Envoy does it.
func TestAMessageIsFramedByItsHeaders(t *testing.T) {
	t.Parallel()
	status := func(code string, more ...link.Field) []link.Field {
		return append([]link.Field{{Name: ":status", Value: code}}, more...)
	}
	length := link.Field{Name: "content-length", Value: "3"}
	for _, c := range []struct {
		name, method string
		headers      []link.Field
		bare         bool
		want         string
	}{
		{"sized", "GET", status("200", length), false, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none"},
		{"not sized", "GET", status("200"), false, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"},
		{"no body", "GET", status("200"), true, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"},
		{"204", "GET", status("204"), true, "HTTP/1.1 204 No Content\r\n\r\n"},
		{"HEAD", "HEAD", status("200"), true, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"},
		{"the body of HEAD", "HEAD", status("200", length), false, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			e := h1.ResponseEncoder(func(p []byte) { out.Write(p) }, method(c.method))
			if e.Headers(c.headers, c.bare); !c.bare {
				e.Data([]byte("one"), true)
			}
			if out.String() != c.want {
				t.Errorf("%q, not %q", out.String(), c.want)
			}
		})
	}
}
