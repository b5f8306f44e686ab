package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

func hello(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-From", "upstream")
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Test") {
			fmt.Fprintf(w, "%s=%s;", name, strings.Join(values, "|"))
		}
	}
	if r.URL.Path != "/" {
		fmt.Fprintf(w, "path=%s;", r.RequestURI)
	}
}

func TestEditsReachUpstreamAndClient(t *testing.T) {
	t.Parallel()
	g := start(t, filter("NONE"), http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
		x.Request.Header.Set("X-Test-Set", "ours")
		x.Request.Header.Set("x-test-two", "a", "b")
		x.Request.Header.Add("x-test-add", "ours")
		x.Request.Header.Del("x-test-del")
		x.Request.Header.Set("x-test-raw", "\xff")
		if x.Request.Path() == "/old" {
			x.Request.SetPath("/new?q=1", false)
		}
		if x.Request.Path() == "/reroute" {
			x.Request.SetPath("/moved", true)
		}
		resp, err := x.Next(ctx)
		if err != nil {
			return err
		}
		resp.Header.Set("x-from", resp.Header.Get("x-from")+" and us")
		resp.Header.Add("set-cookie", "a=b")
		resp.Header.Add("set-cookie", "c=d")
		if resp.Status() == http.StatusOK && x.Request.Method() == http.MethodGet {
			resp.SetStatus(http.StatusAccepted)
		}
		return nil
	})
	theirs := []string{"x-test-set", "theirs", "x-test-add", "theirs", "x-test-del", "theirs"}
	answer, body := g.get(t, "/", theirs...)
	for _, want := range []string{"X-Test-Set=ours;", "X-Test-Two=a|b;", "X-Test-Add=theirs|ours;", "X-Test-Raw=\xff;"} {
		if !strings.Contains(body, want) {
			t.Errorf("upstream saw %q, want %q", body, want)
		}
	}
	if strings.Contains(body, "Del") {
		t.Errorf("a deleted header arrived: %q", body)
	}
	if answer.StatusCode != http.StatusAccepted || answer.Header.Get("X-From") != "upstream and us" || len(answer.Header.Values("Set-Cookie")) != 2 {
		t.Errorf("answer %d %v", answer.StatusCode, answer.Header)
	}
	if _, body := g.get(t, "/old"); !strings.Contains(body, "path=/new?q=1;") {
		t.Errorf("new path: %q", body)
	}
	if _, body := g.get(t, "/reroute"); body != "moved" {
		t.Errorf("new route: %q", body)
	}
}

// verdict is what a client must see of a processor.
type verdict struct {
	processor exchange.ProcessorFunc
	status    int
	body      string
}

var errBoom = errors.New("boom")

// after runs fn when the response's headers are there.
func after(fn func(x *exchange.Exchange, resp *exchange.Response) error) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		resp, err := x.Next(ctx)
		if err != nil {
			return err
		}
		return fn(x, resp)
	}
}

func verdicts() map[string]verdict {
	failed := func(p exchange.ProcessorFunc) verdict { return verdict{p, 503, "processor unavailable"} }
	teapot := &exchange.Reply{Code: 418, Header: http.Header{"X-Why": {"a", "b"}}, Body: []byte("short and stout")}
	return map[string]verdict{
		"deny": {func(context.Context, *exchange.Exchange) error { return exchange.Deny(403, "not you") }, 403, "not you"},
		"reply": {func(_ context.Context, x *exchange.Exchange) error {
			if err := x.Reply(*teapot); err != nil {
				return err
			}
			if _, err := x.Next(context.Background()); !errors.Is(err, exchange.ErrDone) {
				panic(err)
			}
			return errBoom // too late to matter
		}, 418, "short and stout"},
		"deny after Next":  {after(func(*exchange.Exchange, *exchange.Response) error { return teapot }), 418, "short and stout"},
		"reply after Next": {after(func(x *exchange.Exchange, _ *exchange.Response) error { return x.Reply(*teapot) }), 418, "short and stout"},
		"no status":        {func(context.Context, *exchange.Exchange) error { return &exchange.Reply{} }, 500, ""},
		"too large":        {func(context.Context, *exchange.Exchange) error { return exchange.ErrTooLarge }, 413, "body too large"},
		"nil reply as an error": failed(func(context.Context, *exchange.Exchange) error {
			var none *exchange.Reply
			return none
		}),
		"error":            failed(func(context.Context, *exchange.Exchange) error { return errBoom }),
		"panic":            failed(func(context.Context, *exchange.Exchange) error { panic("boom") }),
		"error after Next": failed(after(func(*exchange.Exchange, *exchange.Response) error { return errBoom })),
		"panic after Next": failed(after(func(*exchange.Exchange, *exchange.Response) error { panic("boom") })),
		"Next twice": failed(after(func(x *exchange.Exchange, _ *exchange.Response) error {
			_, err := x.Next(context.Background())
			return err
		})),
		"edit with a line break": failed(func(_ context.Context, x *exchange.Exchange) error {
			x.Request.Header.Set("x-test", "a\r\nb: c")
			return nil
		}),
		"edit of a pseudo-header": failed(func(_ context.Context, x *exchange.Exchange) error {
			x.Request.Header.Set(":path", "/")
			return nil
		}),
		"impossible status": failed(after(func(_ *exchange.Exchange, resp *exchange.Response) error {
			resp.SetStatus(42)
			return nil
		})),
		"too slow": failed(func(ctx context.Context, _ *exchange.Exchange) error {
			<-ctx.Done()
			return nil
		}),
		"too slow after Next": failed(func(ctx context.Context, x *exchange.Exchange) error {
			if _, err := x.Next(ctx); err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		}),
		"upstream slower than the processor allows": failed(func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Header.Set("x-hang", "1")
			own, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			_, err := x.Next(own)
			return err
		}),
	}
}

func TestVerdictsInEveryMode(t *testing.T) {
	t.Parallel()
	upstream := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Hang") != "" {
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(content("large"))
	}
	for _, mode := range bodyModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			all := verdicts()
			// A filter that lets requests pass when its server fails makes no difference to a verdict.
			config := filter(mode) + "\n              failure_mode_allow: true"
			g := start(t, config, http.HandlerFunc(upstream), func(ctx context.Context, x *exchange.Exchange) error {
				return all[x.Request.Header.Get("x-case")].processor(ctx, x)
			}, extproc.WithDeadline(200*time.Millisecond))
			transport := client(t)
			for name, want := range all {
				for _, body := range []string{"none", "large"} {
					t.Run(name+" with body "+body, func(t *testing.T) {
						t.Parallel()
						r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/", bytes.NewReader(content(body)))
						if err != nil {
							t.Fatal(err)
						}
						r.Header.Set("X-Case", name)
						answer, err := transport.RoundTrip(r)
						if err != nil {
							t.Fatal(err)
						}
						defer answer.Body.Close()
						got, err := io.ReadAll(answer.Body)
						if answer.StatusCode != want.status || string(got) != want.body {
							t.Errorf("answer %d %.40q (%v), want %d %q", answer.StatusCode, got, err, want.status, want.body)
						}
						if want.status == 418 && strings.Join(answer.Header.Values("X-Why"), "|") != "a|b" {
							t.Errorf("header %v", answer.Header)
						}
					})
				}
			}
		})
	}
}

func TestTimeInNextIsNotTheProcessors(t *testing.T) {
	t.Parallel()
	g := start(t, filter("FULL_DUPLEX_STREAMED"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(300 * time.Millisecond) // a slow upstream
		_, _ = w.Write([]byte("at last"))
	}), func(ctx context.Context, x *exchange.Exchange) error { return x.Finish(ctx) }, extproc.WithDeadline(50*time.Millisecond))
	if answer, body := g.get(t, "/"); answer.StatusCode != http.StatusOK || body != "at last" {
		t.Errorf("answer %d %q", answer.StatusCode, body)
	}
}

// TestFailureAfterTheResponseHasStarted: the client must not take the response for complete.
func TestFailureAfterTheResponseHasStartedResetsIt(t *testing.T) {
	t.Parallel()
	upstream := func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("begin"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done() // the response never ends by itself
	}
	for _, mode := range []string{"STREAMED", "FULL_DUPLEX_STREAMED"} {
		for name, fail := range map[string]func(ctx context.Context) error{
			"error": func(context.Context) error { return errBoom },
			"deny":  func(context.Context) error { return exchange.Deny(403, "too late") },
			"panic": func(context.Context) error { panic("boom") },
			"slow":  func(ctx context.Context) error { <-ctx.Done(); return nil },
		} {
			t.Run(mode+" "+name, func(t *testing.T) {
				t.Parallel()
				g := start(t, filter(mode), http.HandlerFunc(upstream), func(ctx context.Context, x *exchange.Exchange) error {
					if err := x.Finish(ctx); err != nil {
						return err
					}
					if err := x.Reply(exchange.Reply{Code: 500}); !errors.Is(err, exchange.ErrResponseStarted) {
						panic(err)
					}
					return fail(ctx)
				}, extproc.WithDeadline(200*time.Millisecond))
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				answer, err := client(t).RoundTrip(r)
				if err != nil {
					return // reset before the client saw anything
				}
				defer answer.Body.Close()
				if body, err := io.ReadAll(answer.Body); err == nil {
					t.Errorf("a complete response: %d %q", answer.StatusCode, body)
				}
			})
		}
	}
}
