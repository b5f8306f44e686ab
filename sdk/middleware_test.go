package sdk_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"
	"github.com/unrolled/secure"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// seen is what the upstream tells of the request, in X-Seen and in its body.
type seen struct {
	Method, Path, Body string
	Header             http.Header
}

// tell answers with what it has seen, in a body whose size the request chooses.
func tell(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	text, err := json.Marshal(seen{r.Method, r.URL.RequestURI(), string(body), r.Header})
	if err != nil {
		panic(err)
	}
	w.Header().Set("X-Seen", string(text))
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Vary", "Accept")
	w.Header().Set("X-Frame-Options", "upstream")
	switch r.Header.Get("X-Answer") {
	case "hang":
		<-r.Context().Done()
	case "stall":
		_, _ = io.WriteString(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "none":
		w.WriteHeader(http.StatusNoContent)
	case "trailers":
		w.Header().Set("Trailer", "X-End")
		_, _ = io.WriteString(w, "with trailers "+large)
		w.Header().Set("X-End", "end")
	case "unknown":
		_, _ = io.WriteString(w, large[:10])
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, large[10:])
	default:
		w.Header().Set("Content-Length", fmt.Sprint(len(large)))
		_, _ = io.WriteString(w, large)
	}
}

var large = strings.Repeat("the quick brown fox jumps over the lazy dog. ", 5000)

// hosting starts an Envoy whose filter has these modes in front of tell, and serves the processor that a
// request's x-case names.
func hosting(t *testing.T, modes, more string, processors map[string]sdk.Processor) string {
	t.Helper()
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	dispatch := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		name := x.Request.Header.Get("x-case")
		x.Request.Header.Del("x-case")
		return processors[name].Process(ctx, x)
	})
	extproc.NewServer(dispatch, extproc.WithLogger(slog.New(slog.DiscardHandler))).Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	backend := httptest.NewServer(http.HandlerFunc(tell))
	t.Cleanup(backend.Close)
	port := envoytest.FreePort(t)
	_, listenerConfig, _ := strings.Cut(bootstrap, "- name: envoy.filters.http.ext_authz")
	_, rest, _ := strings.Cut(listenerConfig, "- name: envoy.filters.http.ext_proc")
	head, _, _ := strings.Cut(bootstrap, "- name: envoy.filters.http.ext_authz")
	config := head + "- name: envoy.filters.http.ext_proc" + strings.Replace(rest, "message_timeout: 5s", `message_timeout: 20s
              request_attributes: [source.address, request.protocol]
              processing_mode: {`+modes+`}
              `+more, 1)
	config = strings.Replace(config, "timeout: 5s}\n", "timeout: 60s}\n", 1)
	envoytest.Start(t, fmt.Sprintf(config, port, backend.Listener.Addr().(*net.TCPAddr).Port, socket))
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

// describe makes the filter allow overrides and say so.
const describe = `allow_mode_override: true
              grpc_service: {envoy_grpc: {cluster_name: extension}, initial_metadata: [{key: x-gatehouse-extproc, value: "v=1; override"}]}`

// need is what a middleware needs for a request with a body.
type need uint8

const (
	nothing      need = 0
	requestBody  need = 1 << 0
	responseBody need = 1 << 1
)

type mwCase struct {
	mw     func(http.Handler) http.Handler
	opts   []sdk.MiddlewareOption
	needs  need
	send   func(r *http.Request)
	status int // 0: 200, and the body is the upstream's
	check  func(t *testing.T, answer *http.Response, body string, upstream seen)
}

func header(name, want string) func(*testing.T, *http.Response, string, seen) {
	return func(t *testing.T, answer *http.Response, _ string, _ seen) {
		t.Helper()
		if got := strings.Join(answer.Header.Values(name), ","); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func set(pairs ...string) func(*http.Request) {
	return func(r *http.Request) {
		for i := 0; i < len(pairs); i += 2 {
			r.Header.Add(pairs[i], pairs[i+1])
		}
	}
}

func unzipped(t *testing.T, answer *http.Response, body string, _ seen) {
	t.Helper()
	if got := answer.Header.Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("content-encoding %q", got)
	}
	reader, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(reader); err != nil || strings.TrimPrefix(string(text), "with trailers ") != large {
		t.Errorf("%d of %d bytes, %v", len(text), len(large), err)
	}
}

func middlewares() map[string]mwCase {
	c := cors.New(cors.Options{AllowedOrigins: []string{"https://app.example"}, AllowedMethods: []string{"GET", "PUT"}})
	post := func(r *http.Request) {
		r.Method = http.MethodPost
		r.Body = io.NopCloser(strings.NewReader("12345678"))
		r.ContentLength = 8
	}
	gz := set("Accept-Encoding", "gzip")
	wrapBody := func(read bool) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := io.Reader(r.Body)
				if read {
					data, err := io.ReadAll(body)
					if err != nil {
						http.Error(w, "can't read", http.StatusBadRequest)
						return
					}
					body = bytes.NewReader(data)
				}
				r.Body = io.NopCloser(io.MultiReader(strings.NewReader("<"), body, strings.NewReader(">")))
				next.ServeHTTP(w, r)
			})
		}
	}
	grown := func(t *testing.T, _ *http.Response, _ string, upstream seen) {
		t.Helper()
		if upstream.Body != "<12345678>" {
			t.Errorf("upstream got %q", upstream.Body)
		}
	}
	return map[string]mwCase{
		"cors":      {mw: c.Handler, send: set("Origin", "https://app.example"), check: header("Access-Control-Allow-Origin", "https://app.example")},
		"cors vary": {mw: c.Handler, send: set("Origin", "https://app.example"), check: header("Vary", "Accept,Origin")},
		"cors preflight": {mw: c.Handler, status: 204, send: func(r *http.Request) {
			r.Method = http.MethodOptions
			set("Origin", "https://app.example", "Access-Control-Request-Method", "PUT")(r)
		}, check: header("Access-Control-Allow-Methods", "PUT")},
		"gzhttp":                {mw: wrap(gzhttp.NewWrapper()), needs: responseBody, send: gz, check: unzipped},
		"gzhttp unknown length": {mw: wrap(gzhttp.NewWrapper()), needs: responseBody, send: func(r *http.Request) { gz(r); set("X-Answer", "unknown")(r) }, check: unzipped},
		"gzhttp without need":   {mw: wrap(gzhttp.NewWrapper()), needs: responseBody},
		"gzhttp no content":     {mw: wrap(gzhttp.NewWrapper()), needs: responseBody, status: 204, send: func(r *http.Request) { gz(r); set("X-Answer", "none")(r) }},
		"gzhttp head":           {mw: wrap(gzhttp.NewWrapper()), send: func(r *http.Request) { gz(r); r.Method = http.MethodHead }},
		"chi compress":          {mw: middleware.Compress(5), needs: responseBody, send: gz, check: unzipped},
		"chi compress trailers": {mw: middleware.Compress(5), needs: responseBody, send: func(r *http.Request) { gz(r); set("X-Answer", "trailers")(r) },
			check: unzipped},
		"chi request id": {mw: requestID, check: func(t *testing.T, answer *http.Response, _ string, upstream seen) {
			t.Helper()
			if id := upstream.Header.Get("X-Chi"); id == "" || answer.Header.Get("X-Chi") != id {
				t.Errorf("ids %q, %q", id, answer.Header.Get("X-Chi"))
			}
		}},
		"chi throttle":       {mw: middleware.Throttle(100)},
		"chi throttle full":  {mw: middleware.ThrottleBacklog(1, 0, time.Second), status: 0},
		"chi timeout":        {mw: middleware.Timeout(time.Minute)},
		"chi timeout passed": {mw: middleware.Timeout(100 * time.Millisecond), status: 504, send: set("X-Answer", "hang")},
		"chi recoverer":      {mw: quietly(middleware.Recoverer)},
		"chi recoverer panic": {mw: func(next http.Handler) http.Handler {
			return quietly(middleware.Recoverer)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }))
		}, status: 500},
		"chi basic auth":        {mw: middleware.BasicAuth("here", map[string]string{"ada": "pw"}), status: 401, check: header("Www-Authenticate", `Basic realm="here"`)},
		"chi basic auth passed": {mw: middleware.BasicAuth("here", map[string]string{"ada": "pw"}), send: func(r *http.Request) { r.SetBasicAuth("ada", "pw") }},
		"chi real ip":           {mw: clientPort},
		"secure":                {mw: secure.New(secure.Options{FrameDeny: true}).Handler, check: header("X-Frame-Options", "DENY")},
		"secure redirect":       {mw: secure.New(secure.Options{SSLRedirect: true, SSLHost: "x"}).Handler, status: 301, check: header("Location", "https://x/api/p?q")},
		"otelhttp":              {mw: otelhttp.NewMiddleware("test"), needs: requestBody | responseBody, send: post},
		"otelhttp headers only": {mw: otelhttp.NewMiddleware("test"), send: post, opts: []sdk.MiddlewareOption{sdk.ResponseHeadersOnly(), sdk.KeepRequestBody()}},
		"strip prefix": {mw: func(next http.Handler) http.Handler { return http.StripPrefix("/api", next) }, check: func(t *testing.T, _ *http.Response, _ string, upstream seen) {
			t.Helper()
			if upstream.Path != "/p?q" {
				t.Errorf("path %q", upstream.Path)
			}
		}},
		"strip another prefix": {mw: func(next http.Handler) http.Handler { return http.StripPrefix("/other", next) }, status: 404},
		"max bytes":            {mw: func(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 8) }, needs: requestBody, send: post},
		"max bytes passed":     {mw: func(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 7) }, needs: requestBody, send: post, status: 413},
		"max bytes, no body":   {mw: func(next http.Handler) http.Handler { return http.MaxBytesHandler(next, 7) }},
		"timeout handler":      {mw: timeoutHandler(time.Minute), needs: responseBody},
		"timeout handler passed": {mw: timeoutHandler(100 * time.Millisecond), needs: responseBody, status: 503, send: set("X-Answer", "hang"), check: func(t *testing.T, _ *http.Response, body string, _ seen) {
			t.Helper()
			if body != "too slow" {
				t.Errorf("body %q", body)
			}
		}},
		"timeout handler passed in the body": {mw: timeoutHandler(300 * time.Millisecond), needs: responseBody, status: 503, send: set("X-Answer", "stall"), check: func(t *testing.T, answer *http.Response, body string, _ seen) {
			t.Helper()
			if body != "too slow" || answer.Header.Get("X-Seen") != "" {
				t.Errorf("body %q, header %v", body, answer.Header)
			}
		}},
		"body around body":       {mw: wrapBody(false), needs: requestBody, send: post, check: grown},
		"body read and replaced": {mw: wrapBody(true), needs: requestBody, send: post, check: grown},
		"body read and kept": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.ReadAll(r.Body)
				next.ServeHTTP(w, r)
			})
		}, needs: requestBody, send: post, check: func(t *testing.T, _ *http.Response, _ string, upstream seen) {
			t.Helper()
			if upstream.Body != "12345678" {
				t.Errorf("upstream got %q", upstream.Body)
			}
		}},
		"body dropped": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Body = http.NoBody; next.ServeHTTP(w, r) })
		}, send: post, check: func(t *testing.T, _ *http.Response, _ string, upstream seen) {
			t.Helper()
			if upstream.Body != "" {
				t.Errorf("upstream got %q", upstream.Body)
			}
		}},
		"header edits": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Del("X-Gone")
				r.Header["X-Two"] = []string{"a", "b"}
				w.Header().Set("X-Before", "set")
				next.ServeHTTP(w, r)
				w.Header().Del("X-Frame-Options")
				w.Header().Set("X-After", "set")
			})
		}, send: set("X-Gone", "x", "X-Kept", "y"), check: func(t *testing.T, answer *http.Response, _ string, upstream seen) {
			t.Helper()
			h := upstream.Header
			if h.Get("X-Gone") != "" || h.Get("X-Kept") != "y" || !slices.Equal(h.Values("X-Two"), []string{"a", "b"}) {
				t.Errorf("upstream got %v", h)
			}
			if a := answer.Header; a.Get("X-Before")+a.Get("X-After") != "setset" || a.Get("X-Frame-Options") != "" {
				t.Errorf("client got %v", a)
			}
		}},
		"headers of the connection": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for _, h := range []http.Header{r.Header, w.Header()} {
					h.Set("Connection", "keep-alive")
					h.Set("Keep-Alive", "timeout=5")
					h.Set("Transfer-Encoding", "chunked")
					h.Set("Content-Length", "7")
					h.Set("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
				}
				next.ServeHTTP(w, r)
			})
		}, check: func(t *testing.T, answer *http.Response, _ string, upstream seen) {
			t.Helper()
			const date = "Sun, 06 Nov 1994 08:49:37 GMT"
			if upstream.Header.Get("Date") != date || upstream.Header.Get("Keep-Alive") != "" || answer.Header.Get("Keep-Alive") != "" || answer.Header.Get("Date") != date {
				t.Errorf("upstream got %v, the client %v", upstream.Header, answer.Header)
			}
		}},
		"a header that Envoy ignores": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Header.Set("X-Envoy-Retry-On", "5xx")
				next.ServeHTTP(w, r)
			})
		}, status: 503},
		"writes after next": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r); _, _ = io.WriteString(w, "more") })
		}, status: 503},
		"next twice": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r); next.ServeHTTP(w, r) })
		}, status: 503},
		"answer and next": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK); next.ServeHTTP(w, r) })
		}, status: 503},
		"another method": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Method = "PATCH"; next.ServeHTTP(w, r) })
		}, status: 503},
		"another host": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { r.Host = "other"; next.ServeHTTP(w, r) })
		}, status: 503},
		"another context": {mw: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r.WithContext(context.Background()))
			})
		}, status: 503},
		"panic": {mw: func(http.Handler) http.Handler {
			return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, status: 503},
		"nothing": {mw: func(http.Handler) http.Handler { return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}) }, status: -200},
	}
}

func wrap(mw func(http.Handler) http.HandlerFunc, err error) func(http.Handler) http.Handler {
	if err != nil {
		panic(err)
	}
	return func(next http.Handler) http.Handler { return mw(next) }
}

func timeoutHandler(d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler { return http.TimeoutHandler(next, d, "too slow") }
}

// requestID passes the id of chi's RequestID on, both ways.
func requestID(next http.Handler) http.Handler {
	return middleware.RequestID(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := middleware.GetReqID(r.Context())
		r.Header.Set("X-Chi", id)
		w.Header().Set("X-Chi", id)
		next.ServeHTTP(w, r)
	}))
}

// quietly keeps Recoverer from printing stacks.
func quietly(mw func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			entry := discard{}
			mw(next).ServeHTTP(w, middleware.WithLogEntry(r, entry))
		})
	}
}

type discard struct{}

func (discard) Write(int, int, http.Header, time.Duration, any) {}
func (discard) Panic(any, []byte)                               {}

// clientPort lets requests of known clients pass.
func clientPort(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err != nil || host != "127.0.0.1" || r.Proto != "HTTP/1.1" {
			http.Error(w, r.RemoteAddr, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// TestStandardMiddlewareRunsUnchanged runs each through each kind of filter: it does what it does in a server,
// or, where the filter doesn't give it what it needs, the exchange fails.
func TestStandardMiddlewareRunsUnchanged(t *testing.T) {
	t.Parallel()
	const fds = "request_body_mode: FULL_DUPLEX_STREAMED, response_body_mode: FULL_DUPLEX_STREAMED, request_trailer_mode: SEND, response_trailer_mode: SEND"
	for name, filter := range map[string]struct {
		modes, more string
		gives       need
	}{
		"NONE with override": {"", describe, requestBody | responseBody},
		"full duplex":        {fds, "", requestBody | responseBody},
		"BUFFERED":           {"request_body_mode: BUFFERED, response_body_mode: BUFFERED", "", requestBody | responseBody},
		"STREAMED":           {"request_body_mode: STREAMED, response_body_mode: STREAMED", "", nothing},
		"NONE":               {"", "", nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cases := middlewares()
			processors := map[string]sdk.Processor{}
			for name, c := range cases {
				processors[name] = sdk.Middleware(c.mw, c.opts...)
			}
			url := hosting(t, filter.modes, filter.more, processors)
			for name, c := range cases {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					c.run(t, url, name, c.needs&^filter.gives == 0)
				})
			}
		})
	}
}

var quick = sync.OnceValue(func() *http.Transport { return &http.Transport{DisableCompression: true} })

func (c mwCase) run(t *testing.T, url, name string, served bool) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/p?q", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Case", name)
	if c.send != nil {
		c.send(r)
	}
	answer, err := quick().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := c.status
	switch {
	case !served:
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("an unmet need: status %d", answer.StatusCode)
		}
		return
	case want == 0:
		want = http.StatusOK
		if answer.Header.Get("Content-Encoding") == "" && r.Method != http.MethodHead && string(body) != large {
			t.Errorf("body of %d bytes", len(body))
		}
	case want < 0:
		want = -want
	}
	if answer.StatusCode != want {
		t.Errorf("status %d, want %d: %.100s", answer.StatusCode, want, body)
	}
	if c.check != nil {
		var upstream seen
		if text := answer.Header.Get("X-Seen"); text != "" {
			if err := json.Unmarshal([]byte(text), &upstream); err != nil {
				t.Fatal(err)
			}
		}
		c.check(t, answer, string(body), upstream)
	}
}
