package extproc_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// headerEdits are edits by the path that asks for them.
var headerEdits = map[string]struct {
	edit func(*exchange.Header)
	told error // with rules that allow every header
	not  error // without
}{
	"/x-envoy":           {func(h *exchange.Header) { h.Set("X-Envoy-User", "ours") }, nil, exchange.ErrNeeds},
	"/x-envoy/added":     {func(h *exchange.Header) { h.Add("x-envoy-user", "ours") }, nil, exchange.ErrNeeds},
	"/x-envoy/removed":   {func(h *exchange.Header) { h.Del("x-envoy-user") }, nil, exchange.ErrNeeds},
	"/host":              {func(h *exchange.Header) { h.Set("Host", "ours.example") }, nil, exchange.ErrNeeds},
	"/host/removed":      {func(h *exchange.Header) { h.Del("host") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/method":            {func(h *exchange.Header) { h.Set(":method", "PUT") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/scheme":            {func(h *exchange.Header) { h.Set(":scheme", "https") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/authority":         {func(h *exchange.Header) { h.Set(":authority", "ours.example") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/connection":        {func(h *exchange.Header) { h.Set("Connection", "close") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/keep-alive":        {func(h *exchange.Header) { h.Set("keep-alive", "timeout=5") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/upgrade":           {func(h *exchange.Header) { h.Set("upgrade", "h2c") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/te":                {func(h *exchange.Header) { h.Set("te", "gzip") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/te/trailers":       {func(h *exchange.Header) { h.Set("te", "trailers") }, nil, nil},
	"/transfer-encoding": {func(h *exchange.Header) { h.Set("transfer-encoding", "chunked") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/content-length":    {func(h *exchange.Header) { h.Set("content-length", "0") }, exchange.ErrBadEdit, exchange.ErrBadEdit},
	"/hygiene": {func(h *exchange.Header) {
		for _, name := range []string{"connection", "keep-alive", "transfer-encoding", "content-length"} {
			h.Del(name)
		}
	}, nil, nil},
}

// TestEditsThatEnvoyWouldIgnoreFail: they are the processor's error, whatever it makes of it, of the request
// and of the response; and Envoy has none to refuse.
func TestEditsThatEnvoyWouldIgnoreFail(t *testing.T) {
	t.Parallel()
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Seen"] = []string{r.Host, r.Header.Get("X-Envoy-User"), r.Header.Get("Te")}
	})
	for name, config := range map[string]string{
		"not told": "message_timeout: 11s",
		"told":     describing("v=1; mutate-all", "mutation_rules: {allow_all_routing: true, allow_envoy: true}"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			problems := make(chan error, 1)
			g := start(t, config, upstream, func(ctx context.Context, x *exchange.Exchange) error {
				path, ofResponse := strings.CutPrefix(x.Request.Path(), "/response")
				if !ofResponse {
					headerEdits[path].edit(&x.Request.Header)
				}
				resp, err := x.Next(ctx)
				if err == nil && ofResponse {
					headerEdits[path].edit(&resp.Header)
					err = x.Finish(ctx)
				}
				problems <- err
				return nil
			})
			for path, edit := range headerEdits {
				want := edit.not
				if name == "told" {
					want = edit.told
				}
				for _, prefix := range []string{"", "/response"} {
					answer, _ := g.get(t, prefix+path, "x-envoy-user", "theirs")
					err, status := <-problems, http.StatusOK
					if want != nil {
						status = http.StatusServiceUnavailable
					}
					if !errors.Is(err, want) || answer.StatusCode != status {
						t.Errorf("%s%s: %d, %v", prefix, path, answer.StatusCode, err)
					}
					if seen := strings.Join(answer.Header["X-Seen"], ","); prefix == "" && want == nil && !expected(path, seen) {
						t.Errorf("%s: the upstream saw %s", path, seen)
					}
				}
			}
			for counter, n := range g.envoy.Stats(t, "rejected_header_mutations") {
				if n > 0 {
					t.Errorf("%s is %d", counter, n)
				}
			}
		})
	}
}

func expected(path, seen string) bool {
	switch path {
	case "/x-envoy":
		return strings.HasSuffix(seen, ",ours,")
	case "/x-envoy/removed":
		return strings.HasSuffix(seen, ",,")
	case "/host":
		return strings.HasPrefix(seen, "ours.example,")
	case "/te/trailers":
		return strings.HasSuffix(seen, ",trailers")
	}
	return true
}

// TestTrailersAreEditedWithinTheRules: what holds for headers holds for trailers.
func TestTrailersAreEditedWithinTheRules(t *testing.T) {
	t.Parallel()
	upstream := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("body"))
		w.Header().Set(http.TrailerPrefix+"X-End", "theirs")
	})
	outcomes := make(chan exchange.Outcome, 1)
	g := start(t, filter(fds), upstream, func(ctx context.Context, x *exchange.Exchange) error {
		x.OnComplete(func(o exchange.Outcome) { outcomes <- o })
		resp, err := x.Next(ctx, exchange.Trailers)
		if err == nil {
			resp.Trailer.Set("x-envoy-end", "ours")
		}
		return err
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client(t).RoundTrip(r)
	if err == nil {
		_, err = answer.Body.Read(make([]byte, 100))
		for err == nil {
			_, err = answer.Body.Read(make([]byte, 100))
		}
		_ = answer.Body.Close()
	}
	if o := <-outcomes; !errors.Is(o.Err, exchange.ErrNeeds) || err == nil || err.Error() == "EOF" {
		t.Errorf("outcome %+v, the client's end %v", o, err)
	}
}

// TestRepliesLeaveTheConnectionToEnvoy: what a reply says of framing isn't sent; the rest is, also what the
// rules forbid in an edit.
func TestRepliesLeaveTheConnectionToEnvoy(t *testing.T) {
	t.Parallel()
	header := http.Header{
		"Connection": {"close"}, "Transfer-Encoding": {"gzip"}, "Content-Length": {"99"}, "Keep-Alive": {"timeout=1"}, "X-Envoy-Why": {"ours"}, "X-Why": {"ours"},
	}
	reply := func(_ context.Context, x *exchange.Exchange) error {
		if x.Request.Path() == "/reply" {
			return &exchange.Reply{Code: http.StatusTeapot, Header: header, Body: []byte("ours")}
		}
		return x.ReplyStream(func(w http.ResponseWriter) error {
			maps.Copy(w.Header(), header)
			w.WriteHeader(http.StatusTeapot)
			if f, ok := w.(http.Flusher); ok {
				f.Flush()
			}
			_, err := w.Write([]byte("ours"))
			return err
		})
	}
	for config, why := range map[string]string{
		"message_timeout: 11s": "",
		describing("v=1; mutate-all", "mutation_rules: {allow_all_routing: true, allow_envoy: true}"): "ours",
	} {
		g := start(t, config, http.HandlerFunc(hello), reply)
		for _, path := range []string{"/reply", "/stream"} {
			answer, body := g.get(t, path)
			h := answer.Header
			if answer.StatusCode != http.StatusTeapot || body != "ours" || h.Get("X-Why") != "ours" || h.Get("X-Envoy-Why") != why ||
				h.Get("Keep-Alive") != "" || h.Get("Content-Length") == "99" {
				t.Errorf("%s: %d %q %v", path, answer.StatusCode, body, h)
			}
		}
		for counter, n := range g.envoy.Stats(t, "rejected_header_mutations") {
			if n > 0 {
				t.Errorf("%s is %d", counter, n)
			}
		}
	}
}
