package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// sized answers HEAD and GET with a content-length, and tells in X-Length what the request said of its.
func sized(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Length", r.Header.Get("Content-Length"))
	w.Header().Set("X-Body", fmt.Sprintf("%.40s", body))
	data := []byte("the upstream's body")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	if r.Header.Get("X-Large") != "" {
		data = content("large")
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	}
	_, _ = w.Write(data)
}

// TestTraps are ways in which processors have gone wrong with bodies, each under the name that it has.
func TestTraps(t *testing.T) {
	t.Parallel()
	set := func(want exchange.Want) exchange.ProcessorFunc {
		return func(ctx context.Context, x *exchange.Exchange) error {
			if want == 0 {
				x.Request.Body.Set([]byte("a body of another length"))
			}
			resp, err := x.Next(ctx, want)
			if err == nil && want != 0 {
				resp.Body.Set(nil)
			}
			return err
		}
	}
	grow := func(ctx context.Context, x *exchange.Exchange) error {
		x.Request.Body.Transform(growing)
		resp, err := x.Next(ctx, exchange.EditBody)
		if err == nil {
			resp.Body.Transform(growing)
		}
		return err
	}
	for _, trap := range []struct {
		name, config string
		processor    exchange.ProcessorFunc
		method, body string
		want         string // status, response body, what upstream saw of length and body
		length       int64  // the response's content-length
	}{
		{"ContentLengthAfterOverride", overriding("NONE"), grow, "POST", "small", "200 <THE UPSTREAM'S BODY>  <A SMALL BODY>", -1},
		{"ContentLengthMismatchBuffered", filter("BUFFERED"), grow, "POST", "small", "200 <THE UPSTREAM'S BODY> 14 <A SMALL BODY>", 21},
		{"ReplaceInFDSWithBody", filter(fds), set(0), "POST", "small", "200 the upstream's body  a body of another length", -1},
		{"EmptyReplaceDropsFirstChunk", filter(fds), set(exchange.EditBody), "POST", "small", "200   a small body", -1},
		{"HeadContentLengthStripped", overriding("NONE"), grow, "HEAD", "none", "200   ", 19},
		{"UntouchedContentLength", overriding("STREAMED"), func(ctx context.Context, x *exchange.Exchange) error { return x.Finish(ctx) },
			"POST", "small", "200 the upstream's body  a small body", 19},
		{"UntouchedContentLengthNone", overriding("NONE"), func(ctx context.Context, x *exchange.Exchange) error { return x.Finish(ctx) },
			"POST", "small", "200 the upstream's body 12 a small body", 19},
	} {
		t.Run(trap.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, trap.config, http.HandlerFunc(sized), trap.processor)
			r, err := http.NewRequestWithContext(t.Context(), trap.method, g.url+"/", bytes.NewReader(content(trap.body)))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client1(t).RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			got := fmt.Sprintf("%d %s %s %s", answer.StatusCode, body, answer.Header.Get("X-Length"), answer.Header.Get("X-Body"))
			if err != nil || got != trap.want || answer.ContentLength != trap.length {
				t.Errorf("%q, length %d, %v; want %q, %d", got, answer.ContentLength, err, trap.want, trap.length)
			}
		})
	}
}

// TestBufferedByOverrideOverLimitHangs: overrides never lead to BUFFERED, so a body over Envoy's buffer
// passes.
func TestBufferedByOverrideOverLimitHangs(t *testing.T) {
	t.Parallel()
	g := start(t, overriding("NONE"), http.HandlerFunc(mirrorLarge), func(ctx context.Context, x *exchange.Exchange) error {
		if x.Request.Path() == "/hold" {
			if _, err := x.Request.Body.Bytes(32 << 20); err != nil {
				return err
			}
		} else {
			x.Request.Body.Transform(func(dst io.Writer, src io.Reader) error { _, err := io.Copy(dst, src); return err })
		}
		return x.Finish(ctx)
	})
	for _, path := range []string{"/hold", "/transform"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+path, bytes.NewReader(make([]byte, 12<<20)))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client1(t).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK || err != nil {
			t.Errorf("%s: %d, %v", path, answer.StatusCode, err)
		}
	}
}

// TestOverridesAreKnownNotGuessed: without a description a need that the modes don't meet is a failure,
// and Next tells why.
func TestOverridesAreKnownNotGuessed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config string
		want   int
	}{
		"not described":                    {filter("NONE") + "\n              allow_mode_override: true", 503},
		"of another version":               {strings.ReplaceAll(overriding("NONE"), "v=1;", "v=2;"), 503},
		"described":                        {overriding("NONE"), 200},
		"void without waiting for answers": {strings.ReplaceAll(overriding("STREAMED no-wait"), "trailers; ", ""), 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, c.config, http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
				_, err := x.Next(ctx, exchange.EditBody|exchange.Trailers)
				if (err != nil) != (c.want == 503) || err != nil && !errors.Is(err, exchange.ErrNeeds) {
					t.Errorf("Next: %v", err)
				}
				return nil // swallowing it makes no pass of it
			})
			answer, _ := g.get(t, "/")
			if answer.StatusCode != c.want {
				t.Errorf("status %d, want %d", answer.StatusCode, c.want)
			}
		})
	}
}

func TestTheFilterDescribesItself(t *testing.T) {
	t.Parallel()
	config := strings.ReplaceAll(overriding("NONE"), "timeout=10s", "timeout=2s; max-timeout=10s; novelty=1")
	g := start(t, config, http.HandlerFunc(hello), func(_ context.Context, x *exchange.Exchange) error {
		info := x.Filter()
		if !info.Described || !info.Override || info.Timeout != 2*time.Second || info.MaxTimeout != 10*time.Second ||
			len(info.Untyped) != 1 || info.Request != exchange.BodyNone || !info.Trailers {
			t.Errorf("%+v", info)
		}
		if err := x.SetMetadata("other", "key", "value"); !errors.Is(err, exchange.ErrNeeds) {
			t.Errorf("metadata that Envoy drops: %v", err)
		}
		return x.SetMetadata("gatehouse", "key", "value")
	})
	if answer, _ := g.get(t, "/"); answer.StatusCode != http.StatusOK {
		t.Errorf("status %d", answer.StatusCode)
	}
}

// TestUpgradesHaveNoBodies: what looks like one is never touched.
func TestUpgradesHaveNoBodies(t *testing.T) {
	t.Parallel()
	g := start(t, overriding("NONE"), http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
		if !x.Request.IsUpgrade() {
			return errBoom
		}
		if x.Request.Path() == "/read" {
			_, err := x.Request.Body.Bytes(1)
			return err
		}
		_, err := x.Next(ctx, exchange.ObserveBody)
		return err
	})
	for _, path := range []string{"/read", "/observe"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Connection", "upgrade")
		r.Header.Set("Upgrade", "websocket")
		answer, err := client1(t).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
}
