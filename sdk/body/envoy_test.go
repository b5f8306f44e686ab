package body_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/body"
)

var bootstrap = envoytest.HTTP(`
- name: envoy.filters.http.ext_proc
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
    grpc_service:
      envoy_grpc: {cluster_name: extension}
      timeout: 120s
      initial_metadata: [{key: x-gatehouse-extproc, value: "v=1; override"}]
    message_timeout: 20s
    allow_mode_override: true
`)

// gateway runs an Envoy that has p before the upstream, and returns its URL.
func gateway(t *testing.T, p sdk.ProcessorFunc, upstream http.HandlerFunc) string {
	t.Helper()
	backend := httptest.NewServer(upstream)
	t.Cleanup(backend.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	ready, served := make(chan string, 1), make(chan error, 1)
	go func() {
		served <- sdk.Serve(t.Context(), "unix:"+socket, p, sdk.WithLogger(slog.New(slog.DiscardHandler)),
			sdk.OnReady(func(addr string) { ready <- addr }))
	}()
	t.Cleanup(func() { <-served }) // the context ends before the cleanups
	<-ready
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(bootstrap, port, backend.Listener.Addr().(*net.TCPAddr).Port, socket))
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

func post(t *testing.T, url string, text io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, text)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return answer, string(data)
}

// TestToolsThroughEnvoy runs each tool on the wire. The upstream answers with the body it got, its
// content-encoding, and how long it was said to be.
func TestToolsThroughEnvoy(t *testing.T) {
	t.Parallel()
	redact := rewriter(t, body.ReplaceJSON("/secret", []byte(`"***"`)))
	tools := map[string]sdk.ProcessorFunc{
		"/decode": func(_ context.Context, x *sdk.Exchange) error {
			return body.DecodeRequest(x.Request, body.Limit{Bytes: 1 << 20})
		},
		"/held": func(_ context.Context, x *sdk.Exchange) error {
			if err := body.DecodeRequest(x.Request, body.Limit{}); err != nil {
				return err
			}
			data, err := x.Request.Body.Bytes(1 << 20)
			x.Request.Header.Set("x-held", string(data))
			return err
		},
		"/redact": func(ctx context.Context, x *sdk.Exchange) error {
			if err := body.EditRequest(x.Request, body.Limit{}, redact); err != nil {
				return err
			}
			resp, err := x.Next(ctx, sdk.EditBody)
			if err != nil {
				return err
			}
			return body.EditResponse(resp, body.Limit{}, redact)
		},
		"/compress": func(ctx context.Context, x *sdk.Exchange) error {
			resp, err := x.Next(ctx, sdk.EditBody)
			if err != nil {
				return err
			}
			_, err = body.EncodeResponse(x.Request, resp, body.Compression{MinSize: 1, Codings: everyCoding})
			return err
		},
		"/cap": func(_ context.Context, x *sdk.Exchange) error {
			x.Request.Body.Transform(body.Cap(10))
			return nil
		},
	}
	url := gateway(t, func(ctx context.Context, x *sdk.Exchange) error { return tools[x.Request.Path()](ctx, x) },
		func(w http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "application/json")
			if coding := r.Header.Get("Content-Encoding"); coding != "" {
				w.Header().Set("Content-Encoding", coding)
			}
			w.Header().Set("X-Length", r.Header.Get("Content-Length"))
			w.Header().Set("X-Held", r.Header.Get("X-Held"))
			_, _ = w.Write(data)
		})
	const document, redacted = `{"secret":"swordfish","open":1}`, `{"secret":"***","open":1}`
	for _, coding := range everyCoding {
		packed := encoded(t, document, coding)
		if a, got := post(t, url+"/decode", strings.NewReader(packed), "Content-Encoding", coding); got != document || a.Header.Get("Content-Encoding") != "" {
			t.Errorf("decode %s: %d %q %v", coding, a.StatusCode, got, a.Header)
		}
		if a, got := post(t, url+"/held", strings.NewReader(packed), "Content-Encoding", coding); got != document || a.Header.Get("X-Held") != document {
			t.Errorf("held %s: %d %q %v", coding, a.StatusCode, got, a.Header)
		}
		a, got := post(t, url+"/redact", strings.NewReader(packed), "Content-Encoding", coding)
		if plain, err := run(decoder(t, a.Header.Get("Content-Encoding"), body.Limit{}), strings.NewReader(got)); err != nil || plain != redacted || a.Header.Get("Content-Encoding") != coding {
			t.Errorf("redact %s: %d %q, %v, %v", coding, a.StatusCode, plain, err, a.Header)
		}
		a, got = post(t, url+"/compress", strings.NewReader(document), "Accept-Encoding", coding)
		if plain, err := run(decoder(t, coding, body.Limit{}), strings.NewReader(got)); err != nil || plain != document || a.Header.Get("Content-Encoding") != coding {
			t.Errorf("compress %s: %d %q, %v, %v", coding, a.StatusCode, plain, err, a.Header)
		}
		bomb := encoded(t, strings.Repeat("0", 8<<20), coding)
		if a, _ := post(t, url+"/decode", strings.NewReader(bomb), "Content-Encoding", coding); a.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("a bomb in %s: %d", coding, a.StatusCode)
		}
		if a, got := post(t, url+"/decode", strings.NewReader(packed[:len(packed)-3]), "Content-Encoding", coding); a.StatusCode != http.StatusBadRequest || strings.Contains(got, "swordfish") {
			t.Errorf("a part of %s: %d %s", coding, a.StatusCode, got)
		}
	}
	for path := range tools {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || len(data) != 0 {
			t.Errorf("no body, %s: %d %q, %v", path, answer.StatusCode, data, err)
		}
		_ = answer.Body.Close()
	}
	for name, c := range map[string]struct {
		path, text, coding string
		status             int
	}{
		"an unknown coding":        {"/decode", "text", "rot13", http.StatusUnsupportedMediaType},
		"JSON that is none":        {"/redact", `{"secret":`, "", http.StatusBadRequest},
		"as much as is allowed":    {"/cap", "0123456789", "", http.StatusOK},
		"more than that":           {"/cap", "0123456789x", "", http.StatusRequestEntityTooLarge},
		"plain where coded may be": {"/decode", "plain", "", http.StatusOK},
	} {
		var header []string
		if c.coding != "" {
			header = []string{"Content-Encoding", c.coding}
		}
		if a, got := post(t, url+c.path, strings.NewReader(c.text), header...); a.StatusCode != c.status {
			t.Errorf("%s: %d %s", name, a.StatusCode, got)
		}
	}
}

// TestLargeBodiesTakeLittleMemory decodes, rewrites and encodes 64 MiB on the way up, and checks what
// arrives. It isn't parallel, because it looks at the whole process's memory.
func TestLargeBodiesTakeLittleMemory(t *testing.T) { //nolint:paralleltest // see above
	if testing.Short() {
		t.Skip("moves 64 MiB twice")
	}
	const size, bound = 64 << 20, 24 << 20
	peak := uint64(0)
	sample := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapInuse)
	}
	edit := rewriter(t, body.ReplaceJSON("/secret", []byte(`0`)))
	url := gateway(t, func(_ context.Context, x *sdk.Exchange) error {
		return body.EditRequest(x.Request, body.Limit{Bytes: -1, Ratio: -1}, edit)
	}, func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		fn, err := body.Decoder(r.Header.Get("Content-Encoding"), body.Limit{Bytes: -1, Ratio: -1})
		if err == nil {
			err = fn(hash, r.Body)
		}
		fmt.Fprint(w, hex.EncodeToString(hash.Sum(nil)), err)
	})
	// A string of 64 MiB: not even one token fits.
	document := func(secret string) io.Reader {
		return io.MultiReader(strings.NewReader(`{"large":"`), &repeated{text: prose(1 << 20), left: size, each: sample}, strings.NewReader(`","secret":`+secret+`}`))
	}
	want := sha256.New()
	if _, err := io.Copy(want, document("0")); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, coding := range []string{"", body.Gzip} {
		peak = 0
		src, dst := io.Pipe()
		go func() {
			fn := func(dst io.Writer, src io.Reader) error { _, err := io.Copy(dst, src); return err }
			if coding != "" {
				fn, _ = body.Encoder(coding, false)
			}
			dst.CloseWithError(fn(dst, document("1")))
		}()
		var header []string
		if coding != "" {
			header = []string{"Content-Encoding", coding}
		}
		answer, got := post(t, url, src, header...)
		if w := hex.EncodeToString(want.Sum(nil)) + "<nil>"; answer.StatusCode != http.StatusOK || got != w {
			t.Errorf("%q: %d %s, want %s", coding, answer.StatusCode, got, w)
		}
		t.Logf("%q: heap at most %d KiB, %d KiB before", coding, peak>>10, before.HeapInuse>>10)
		if peak > before.HeapInuse+bound {
			t.Errorf("%q: the heap grew by %d bytes for %d", coding, peak-before.HeapInuse, size)
		}
	}
}

// repeated is text over and over.
type repeated struct {
	text string
	left int
	at   int
	each func()
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.left)], r.text[r.at:])
	r.left -= n
	r.at = (r.at + n) % len(r.text)
	if r.left>>20 != (r.left+n)>>20 {
		r.each()
	}
	return n, nil
}

// TestASlowUpstreamSlowsTheSender: nothing between them collects what the upstream doesn't take.
func TestASlowUpstreamSlowsTheSender(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("moves 64 MiB")
	}
	const size = 64 << 20
	reading := make(chan struct{})
	url := gateway(t, func(_ context.Context, x *sdk.Exchange) error {
		return body.EditRequest(x.Request, body.Limit{Bytes: -1}, body.Cap(size))
	}, func(w http.ResponseWriter, r *http.Request) {
		<-reading
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	var sent atomic.Int64
	text := &repeated{text: prose(1 << 20), left: size}
	text.each = func() { sent.Store(int64(size - text.left)) }
	done := make(chan string)
	go func() {
		_, got := post(t, url, text)
		done <- got
	}()
	// The sender stands still when nobody takes more. On a slow machine that is seen too early, which
	// only makes the test easier.
	last := int64(-1)
	for tick := time.NewTicker(time.Second); last != sent.Load(); <-tick.C {
		last = sent.Load()
	}
	if last > size/2 {
		t.Errorf("%d bytes of %d were sent while the upstream took none", last, size)
	}
	close(reading)
	if got, want := <-done, fmt.Sprint(size, nil); got != want {
		t.Errorf("upstream got %s, want %s", got, want)
	}
}

// TestFormsThroughEnvoy: the parts of a form are judged while it is held, or counted as they pass.
func TestFormsThroughEnvoy(t *testing.T) {
	t.Parallel()
	counted := make(chan string, 1)
	url := gateway(t, func(ctx context.Context, x *sdk.Exchange) error {
		kind := x.Request.Header.Get("content-type")
		if x.Request.Path() == "/observed" {
			x.Request.Body.Observe(func(src io.Reader) error {
				seen, err := partsOf(src, kind, body.PartLimit{})
				counted <- fmt.Sprint(len(seen), err)
				return err
			})
			return nil
		}
		for part, err := range body.Parts(&x.Request.Body, kind, body.PartLimit{}) {
			if err != nil {
				return err
			}
			if strings.HasSuffix(part.FileName(), ".txt") {
				return sdk.Deny(http.StatusUnprocessableEntity, "no text")
			}
		}
		return nil
	}, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil {
			fmt.Fprint(w, n)
		}
	})
	text, kind := form(t, prose(300_000))
	if a, got := post(t, url+"/held", strings.NewReader(text), "Content-Type", kind); a.StatusCode != http.StatusUnprocessableEntity || got != "no text" {
		t.Errorf("held: %d %q", a.StatusCode, got)
	}
	if a, got := post(t, url+"/observed", strings.NewReader(text), "Content-Type", kind); a.StatusCode != http.StatusOK || got != fmt.Sprint(len(text)) {
		t.Errorf("observed: %d %q", a.StatusCode, got)
	}
	if got, want := <-counted, fmt.Sprint(300_000+len("name||ada;empty||;upload|notes.txt|;"), nil); got != want {
		t.Errorf("observed %s, want %s", got, want)
	}
}
