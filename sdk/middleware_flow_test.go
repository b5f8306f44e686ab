package sdk_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// fetch sends a request that one of hosting's processors gets.
func fetch(t *testing.T, ctx context.Context, url, name, body string, pairs ...string) (*http.Response, string, error) { //nolint:revive // t first, as in all of the tests
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, url+"/p", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Case", name)
	set(pairs...)(r)
	answer, err := quick().RoundTrip(r)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	return answer, string(got), err
}

func TestHandlersAnswer(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Name", r.PathValue("name"))
		for range 100 {
			if _, err := io.WriteString(w, large); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	})
	mux.HandleFunc("POST /{name}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(w, r.Body)
	})
	url := hosting(t, "", describe, map[string]sdk.Processor{
		"mux": sdk.Handler(mux), "small hold": sdk.Handler(mux, sdk.HoldLimit(3)),
		"aborts": sdk.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})),
	})
	answer, body, err := fetch(t, t.Context(), url, "mux", "")
	if err != nil || answer.StatusCode != http.StatusOK || len(body) != 100*len(large) || answer.Header.Get("X-Name") != "p" {
		t.Errorf("stream: %v of %d bytes, %v", answer, len(body), err)
	}
	if answer, body, err = fetch(t, t.Context(), url, "mux", "echo"); err != nil || answer.StatusCode != http.StatusCreated || body != "echo" {
		t.Errorf("echo: %v %q, %v", answer, body, err)
	}
	if answer, body, err = fetch(t, t.Context(), url, "small hold", "echo"); err != nil || answer.StatusCode != http.StatusCreated || body == "echo" {
		t.Errorf("more than is held: %v %q, %v", answer, body, err)
	}
	if answer, body, err = fetch(t, t.Context(), url, "aborts", ""); err == nil {
		t.Errorf("aborted: %v %q, complete", answer, body)
	}
}

// TestMiddlewareInAChain: denials of those further in go through it like any response.
func TestMiddlewareInAChain(t *testing.T) {
	t.Parallel()
	deny := sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { return sdk.Deny(http.StatusUnauthorized, large) })
	allow := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx)
		if err == nil {
			resp.Header.Set("x-inner", "yes")
		}
		return err
	})
	zip := wrap(gzhttp.NewWrapper())
	url := hosting(t, "", describe, map[string]sdk.Processor{
		"denied":        sdk.Chain(sdk.Middleware(cors.AllowAll().Handler), deny),
		"denied zipped": sdk.Chain(sdk.Middleware(cors.AllowAll().Handler), sdk.Middleware(zip), deny),
		"zipped":        sdk.Chain(sdk.Middleware(cors.AllowAll().Handler), sdk.Middleware(zip), allow),
		"zipped within": sdk.Chain(allow, sdk.Middleware(zip)),
		"twice":         sdk.Chain(sdk.Middleware(timeoutHandler(time.Minute)), sdk.Middleware(zip)),
	})
	for name, want := range map[string]int{"denied": 401, "denied zipped": 401, "zipped": 200, "zipped within": 200, "twice": 200} {
		answer, body, err := fetch(t, t.Context(), url, name, "", "Origin", "https://app.example", "Accept-Encoding", "gzip")
		if err != nil || answer.StatusCode != want {
			t.Errorf("%s: %v, %v", name, answer, err)
			continue
		}
		if name != "zipped within" && name != "twice" && answer.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: header %v", name, answer.Header)
		}
		if name == "denied" {
			if body != large {
				t.Errorf("%s: %d bytes", name, len(body))
			}
			continue
		}
		unzipped(t, answer, body, seen{})
	}
}

// spoiled is a writer that fails in the middle of a body.
type spoiled struct {
	http.ResponseWriter
	left int
	how  func() error
}

func (s *spoiled) Write(p []byte) (int, error) {
	if s.left -= len(p); s.left < 0 {
		if err := s.how(); err != nil {
			return 0, err
		}
	}
	return s.ResponseWriter.Write(p)
}

// TestWritersThatFailBreakTheResponse: a response that isn't whole doesn't look like one.
func TestWritersThatFailBreakTheResponse(t *testing.T) {
	t.Parallel()
	spoil := func(left int, how func() error) sdk.Processor {
		return sdk.Middleware(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(&spoiled{w, left, how}, r)
			})
		})
	}
	fails := func() error { return io.ErrShortWrite }
	processors := map[string]sdk.Processor{
		"error": spoil(100_000, fails), "panic": spoil(100_000, func() error { panic("boom") }),
		"error at once": spoil(0, fails), "panic at once": spoil(0, func() error { panic("boom") }),
		"error late": spoil(len(large)-1, fails),
	}
	url := hosting(t, "", describe, processors)
	for name := range processors {
		for _, size := range []string{"known", "unknown"} {
			t.Run(name+" "+size, func(t *testing.T) {
				t.Parallel()
				if answer, body, err := fetch(t, t.Context(), url, name, "", "X-Answer", size); err == nil && answer.StatusCode < http.StatusInternalServerError {
					t.Errorf("a complete response %d of %d bytes", answer.StatusCode, len(body))
				}
			})
		}
	}
}

// TestClientsThatLeaveEndTheMiddleware: whatever it does at that moment.
func TestClientsThatLeaveEndTheMiddleware(t *testing.T) {
	t.Parallel()
	ended := make(chan string, 10)
	watch := func(name string, mw func(http.Handler) http.Handler) sdk.Processor {
		p := sdk.Middleware(mw)
		return sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			defer func() { ended <- name }()
			return p.Process(ctx, x)
		})
	}
	plain := func(next http.Handler) http.Handler { return next }
	passing := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(struct{ http.ResponseWriter }{w}, r) })
	}
	processors := map[string]sdk.Processor{
		"zip": watch("zip", wrap(gzhttp.NewWrapper())), "plain": watch("plain", plain), "passing": watch("passing", passing),
		"timeout": watch("timeout", timeoutHandler(time.Hour)),
	}
	url := hosting(t, "", describe, processors)
	for name := range processors {
		for _, how := range []string{"hang", "stall"} {
			if name == "plain" && how == "stall" {
				continue // it has ended with the headers
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if _, _, err := fetch(t, ctx, url, name, "", "X-Answer", how, "Accept-Encoding", "gzip"); err == nil {
				t.Errorf("%s %s: a complete response", name, how)
			}
			cancel()
			select {
			case got := <-ended:
				if got != name {
					t.Errorf("%s has ended, not %s", got, name)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("%s %s: goes on", name, how)
			}
		}
	}
}

// ExampleMiddleware compresses responses with a package that knows nothing of proxies.
func ExampleMiddleware() {
	zip, err := gzhttp.NewWrapper(gzhttp.MinSize(2000))
	if err != nil {
		fmt.Println(err)
		return
	}
	sdk.Main(sdk.Middleware(func(next http.Handler) http.Handler { return zip(next) }))
}
