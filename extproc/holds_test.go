package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// TestADeniedBodyLeaksNothing: what was read and then refused has not reached the upstream.
func TestADeniedBodyLeaksNothing(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"NONE with override": overriding("NONE"), "STREAMED with override": overriding("STREAMED"),
		"BUFFERED": filter("BUFFERED"), "full duplex": filter(fds),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var reached atomic.Int32
			g := start(t, config, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }),
				func(_ context.Context, x *exchange.Exchange) error {
					switch x.Request.Path() {
					case "/large":
						_, err := x.Request.Body.Bytes(1000)
						return err
					case "/limit":
						x.Request.Body.Limit(1000)
						_, err := io.Copy(io.Discard, &x.Request.Body)
						return err
					case "/function":
						x.Request.Body.Transform(func(_ io.Writer, src io.Reader) error {
							_, _ = io.ReadAll(src)
							return exchange.Deny(418, "from within")
						})
						_, err := x.Request.Body.Bytes(2 << 20)
						if err == nil {
							return nil
						}
						return nil // the verdict stays
					}
					if _, err := io.ReadAll(&x.Request.Body); err != nil && !errors.Is(err, exchange.ErrTooLarge) {
						return err
					}
					return exchange.Deny(403, "not this")
				})
			for path, want := range map[string]int{"/deny": 403, "/large": 413, "/limit": 413, "/function": 418} {
				for _, kind := range []string{"small", "large", "trailers"} {
					if kind == "small" && want == 413 {
						continue
					}
					status, _ := post(t, g, path, kind)
					if status != want {
						t.Errorf("%s %s: %d, want %d", path, kind, status, want)
					}
				}
			}
			if n := reached.Load(); n != 0 {
				t.Errorf("%d requests reached the upstream", n)
			}
		})
	}
}

// post sends a body of a kind and returns the status and how reading the response ended.
func post(t *testing.T, g gateway, path, kind string) (int, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+path, io.MultiReader(bytes.NewReader(content(kind))))
	if err != nil {
		t.Fatal(err)
	}
	if kind == "trailers" {
		r.Trailer = http.Header{"X-End": {"request"}}
	}
	answer, err := client(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, err = io.ReadAll(answer.Body)
	return answer.StatusCode, err
}

// TestFunctionsThatFailAreVerdicts: an error or a panic over a body is the failure verdict, or breaks a
// response that has started.
func TestFunctionsThatFailAreVerdicts(t *testing.T) {
	t.Parallel()
	fails := map[string]func(io.Reader) error{
		"error": func(src io.Reader) error { _, _ = src.Read(make([]byte, 10)); return errBoom },
		"panic": func(src io.Reader) error { _, _ = src.Read(make([]byte, 10)); panic("boom") },
		"slow":  nil,
	}
	for _, mode := range []string{"STREAMED", "BUFFERED", fds} {
		for name, fail := range fails {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				g := start(t, filter(mode), http.HandlerFunc(mirrorLarge), func(ctx context.Context, x *exchange.Exchange) error {
					fn := fail
					if fn == nil {
						fn = func(io.Reader) error { <-ctx.Done(); return nil }
					}
					if x.Request.Path() == "/request" {
						x.Request.Body.Observe(fn)
						return nil
					}
					resp, err := x.Next(ctx, exchange.ObserveBody)
					if err != nil {
						return err
					}
					resp.Body.Observe(fn)
					if x.Request.Path() == "/finish" && x.Finish(ctx) == nil {
						panic("the failure was hidden")
					}
					return nil // whatever Process makes of it, the verdict stands
				}, extproc.WithDeadline(300*time.Millisecond))
				if status, _ := post(t, g, "/request", "large"); status != http.StatusServiceUnavailable {
					t.Errorf("request: %d", status)
				}
				for _, path := range []string{"/response", "/finish"} {
					if status, err := post(t, g, path, "small"); status == http.StatusOK && err == nil {
						t.Errorf("%s: a complete response", path)
					} else if mode == "BUFFERED" && status != http.StatusServiceUnavailable {
						t.Errorf("%s: %d, the headers were held", path, status)
					}
				}
			})
		}
	}
}

func mirrorLarge(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = w.Write(content("large"))
}

func TestTrailersAreSeenAndEdited(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"NONE with override": overriding("NONE"), "STREAMED with override": overriding("STREAMED"),
		"STREAMED": filter("STREAMED"), "BUFFERED": filter("BUFFERED"), "full duplex": filter(fds),
	} {
		for _, how := range []string{"observe", "edit", "hold", "only trailers"} {
			if name == "BUFFERED" && how != "only trailers" || name == "STREAMED" && how == "hold" {
				continue // in BUFFERED the body has ended before its trailers come, and STREAMED doesn't hold
			}
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				seen := make(chan string, 1)
				g := start(t, config, http.HandlerFunc(mirror), trailers(how, seen),
					extproc.WithFilter(exchange.FilterInfo{Trailers: true}))
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/", strings.NewReader("a body"))
				if err != nil {
					t.Fatal(err)
				}
				r.ContentLength = -1
				r.Trailer = http.Header{"X-End": {"request"}}
				r.Header.Set("X-Kind", "trailers")
				answer, err := client(t).RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				defer answer.Body.Close()
				if got, err := io.ReadAll(answer.Body); err != nil || !bytes.Equal(got, content("trailers")) {
					t.Errorf("response %d of %d bytes, %v", answer.StatusCode, len(got), err)
				}
				wantRequest, wantResponse, wantSeen := "request edited", "response edited", "request response"
				if how == "only trailers" {
					wantRequest, wantSeen = "request", " response"
				}
				if got := answer.Header.Get("X-Seen"); !strings.Contains(got, fmt.Sprintf("%q", wantRequest)) {
					t.Errorf("upstream saw %s", got)
				}
				if got := answer.Trailer.Get("X-End"); got != wantResponse {
					t.Errorf("client saw %q", got)
				}
				if got := <-seen; got != wantSeen {
					t.Errorf("processor saw %q", got)
				}
			})
		}
	}
}

// trailers reads the trailers of both directions, and edits them where it learns of them in time.
func trailers(how string, seen chan<- string) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		first := ""
		edit := func(h *exchange.Header) string {
			value := h.Get("x-end")
			h.Set("x-end", value+" edited")
			return value
		}
		want := exchange.Trailers | exchange.ObserveBody
		switch how {
		case "hold":
			if _, err := x.Request.Body.Bytes(1 << 20); err != nil {
				return err
			}
			first = edit(&x.Request.Trailer)
		case "observe", "edit":
			x.Request.Body.Observe(func(src io.Reader) error {
				_, err := io.Copy(io.Discard, src)
				first = edit(&x.Request.Trailer)
				return err
			})
		case "only trailers":
			want = exchange.Trailers
		}
		if how == "edit" {
			want = exchange.Trailers | exchange.EditBody
		}
		resp, err := x.Next(ctx, want)
		if err != nil {
			return err
		}
		second := ""
		if how == "only trailers" {
			resp.Trailer.Set("x-end", "response edited") // before they have come
		} else {
			resp.Body.Observe(func(src io.Reader) error {
				_, err := io.Copy(io.Discard, src)
				second = edit(&resp.Trailer)
				return err
			})
		}
		if err := x.Finish(ctx); err != nil {
			return err
		}
		if how == "only trailers" {
			second = strings.TrimSuffix(resp.Trailer.Get("x-end"), " edited")
		}
		seen <- first + " " + second
		return nil
	}
}
