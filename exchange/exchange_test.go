package exchange_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

func lines(h *exchange.Header) string {
	var b strings.Builder
	for name, value := range h.All() {
		b.WriteString(name + "=" + value + ";")
	}
	return b.String()
}

func TestHeaderEditsShowAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit  func(h *exchange.Header)
		want  string
		names string
	}{
		"no edit":              {func(*exchange.Header) {}, "a=1;B=2;a=3;", ""},
		"set replaces all":     {func(h *exchange.Header) { h.Set("A", "x", "y") }, "B=2;A=x;A=y;", "A"},
		"set to nothing":       {func(h *exchange.Header) { h.Set("b") }, "a=1;a=3;", "b"},
		"add keeps":            {func(h *exchange.Header) { h.Add("b", "x"); h.Add("B", "y") }, "a=1;B=2;a=3;b=x;B=y;", "b"},
		"del":                  {func(h *exchange.Header) { h.Del("A"); h.Del("none") }, "B=2;", "A none"},
		"names are only ASCII": {func(h *exchange.Header) { h.Set("\u212a", "kelvin") }, "a=1;B=2;a=3;\u212a=kelvin;", "\u212a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var h exchange.Header
			h.Load(source{{Name: "a", Value: "1"}, {Name: "B", Value: "2"}, {Name: "a", Value: "3"}})
			c.edit(&h)
			if got := lines(&h); got != c.want {
				t.Errorf("lines %s, want %s", got, c.want)
			}
			if got := strings.Join(h.Edited(), " "); got != c.names {
				t.Errorf("edited %q, want %q", got, c.names)
			}
		})
	}
}

type source []exchange.Field

func (s source) Fields(dst []exchange.Field) []exchange.Field { return append(dst, s...) }

func TestHeaderReads(t *testing.T) {
	t.Parallel()
	h := exchange.NewHeader(exchange.Field{Name: "x-a", Value: "1"}, exchange.Field{Name: "X-A", Value: "2"}, exchange.Field{Name: "empty"})
	if v, n := h.Lookup("X-a"); v != "1" || n != 2 || h.Get("none") != "" || !h.Has("Empty") || h.Has("none") || h.Len() != 3 {
		t.Errorf("lookup %q %d of %d", v, n, h.Len())
	}
	if got := h.HTTP()["X-A"]; len(got) != 2 || h.Values("none") != nil {
		t.Errorf("values %q", got)
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body  exchange.Body
		err   error
		empty bool
	}{
		"never received": {exchange.Body{}, exchange.ErrNeeds, false},
		"whole":          {exchange.BufferedBody([]byte("four"), false), nil, false},
		"too long":       {exchange.BufferedBody([]byte("fives"), false), exchange.ErrTooLarge, false},
		"prefix":         {exchange.BufferedBody([]byte("four"), true), exchange.ErrTooLarge, false},
		"empty":          {exchange.BufferedBody(nil, false), nil, true},
		"empty prefix":   {exchange.BufferedBody(nil, true), exchange.ErrTooLarge, false},
	} {
		if _, err := c.body.Bytes(4); !errors.Is(err, c.err) || c.body.Empty() != c.empty {
			t.Errorf("%s: %v, empty %v", name, err, c.body.Empty())
		}
	}
}

func TestReadStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit int
		want  string
		err   error
	}{
		"below": {4, "four", nil}, "default": {0, "four", nil}, "above": {3, "fou", exchange.ErrTooLarge},
	} {
		body := exchange.BufferedBody([]byte("four"), false)
		body.Limit(c.limit)
		for range 2 {
			if got, err := io.ReadAll(&body); string(got) != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			body.Rewind()
		}
	}
	prefix := exchange.BufferedBody([]byte("four"), true)
	if got, err := io.ReadAll(&prefix); !errors.Is(err, exchange.ErrTooLarge) {
		t.Errorf("prefix: %q, %v", got, err)
	}
	var none exchange.Body
	if _, err := io.ReadAll(&none); !errors.Is(err, exchange.ErrNeeds) {
		t.Errorf("no body: %v", err)
	}
}

func TestRequestUpgrades(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method  string
		header  exchange.Header
		upgrade bool
	}{
		{http.MethodGet, exchange.Header{}, false},
		{http.MethodConnect, exchange.Header{}, true},
		{http.MethodGet, exchange.NewHeader(exchange.Field{Name: "upgrade", Value: "websocket"}), true},
	} {
		r := exchange.NewRequest(exchange.Head{Method: c.method}, exchange.Conn{}, c.header, exchange.Body{}, nil)
		if r.IsUpgrade() != c.upgrade {
			t.Errorf("%s %s: upgrade %v", c.method, lines(&c.header), !c.upgrade)
		}
	}
}

func TestReplyIsAnErrorThatHidesItsBody(t *testing.T) {
	t.Parallel()
	r := exchange.Deny(99, "secret")
	r.Cause = io.ErrUnexpectedEOF
	if r.Status() != 500 || !errors.Is(r, io.ErrUnexpectedEOF) || strings.Contains(r.Error(), "secret") {
		t.Errorf("%d, %v", r.Status(), r)
	}
	var none *exchange.Reply
	if errors.Is(none, io.EOF) || none.Error() == "" {
		t.Error("a nil reply as an error")
	}
}
