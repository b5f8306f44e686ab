package discovery_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/security/discovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider answers as answer says, and counts.
type provider struct {
	*httptest.Server

	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64
}

func serve(t *testing.T, answer http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{}
	p.answer.Store(&answer)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		(*p.answer.Load())(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

// says describes the provider, with a login page of that path.
func (p *provider) says(login string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/openid-configuration" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprintf(w, `{"issuer": %q, "authorization_endpoint": "%s/%s", "token_endpoint": "%s/token"}`, p.URL, p.URL, login, p.URL)
	}
}

func (p *provider) set(answer http.HandlerFunc) { p.answer.Store(&answer) }

func down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

// newFetcher tells of changes on the channel.
func newFetcher(t *testing.T, opts discovery.Options) (*discovery.Fetcher, <-chan struct{}) {
	t.Helper()
	changed := make(chan struct{}, 1000)
	opts.OnChange = func() { changed <- struct{}{} }
	opts.Logger = slog.New(slog.DiscardHandler)
	opts.FirstRetry, opts.LastRetry = time.Millisecond, 5*time.Millisecond
	f := discovery.NewFetcher(opts)
	t.Cleanup(f.Close)
	return f, changed
}

func await(t *testing.T, changed <-chan struct{}) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(30 * time.Second):
		t.Fatal("no document has come")
	}
}

// untilState waits for a state of the only source.
func untilState(t *testing.T, f *discovery.Fetcher, property func(discovery.State) bool) discovery.State {
	t.Helper()
	for limit := time.Now().Add(30 * time.Second); time.Now().Before(limit); time.Sleep(time.Millisecond) {
		if all := f.States(); len(all) == 1 && property(all[0]) {
			return all[0]
		}
	}
	t.Fatalf("still %+v", f.States())
	return discovery.State{}
}

func TestAProviderThatIsDownAtFirst(t *testing.T) {
	t.Parallel()
	p := serve(t, down)
	f, changed := newFetcher(t, discovery.Options{})
	if got := f.Want([]string{p.URL}); len(got) != 0 {
		t.Fatalf("%v before anything was fetched", got)
	}
	s := untilState(t, f, func(s discovery.State) bool { return s.Failures > 1 })
	if s.LastError != "the server answered 502" || !s.LastSuccess.IsZero() || !s.Tried() || s.URL != p.URL+"/.well-known/openid-configuration" {
		t.Errorf("%+v", s)
	}
	p.set(p.says("authorize"))
	await(t, changed)
	got := f.Want([]string{p.URL})[p.URL]
	if got == nil || got.AuthorizationEndpoint != p.URL+"/authorize" || got.TokenEndpoint != p.URL+"/token" {
		t.Fatalf("%+v", got)
	}
	s = untilState(t, f, func(s discovery.State) bool { return s.LastError == "" })
	if wait := s.Next.Sub(s.LastAttempt); s.LastSuccess.IsZero() || wait > discovery.DefaultRefresh || wait < discovery.DefaultRefresh*3/4 {
		t.Errorf("%+v, the next in %v", s, wait)
	}
	if again := f.Want([]string{p.URL})[p.URL]; again != got {
		t.Error("the same document is another one")
	}
	if f.Want(nil); len(f.States()) != 0 {
		t.Error("what nobody wants is fetched on")
	}
}

// TestAChangedDocument comes when the provider said that it might, and a bad one changes nothing.
func TestAChangedDocument(t *testing.T) {
	t.Parallel()
	p := serve(t, nil)
	first := p.says("one")
	p.set(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, Max-Age=1, must-revalidate")
		first(w, r)
	})
	f, changed := newFetcher(t, discovery.Options{})
	f.Want([]string{p.URL})
	await(t, changed)
	if s := untilState(t, f, discoveredOnce); s.Next.Sub(s.LastAttempt) > discovery.MinRefresh {
		t.Errorf("the next fetch is later than asked for: %+v", s)
	}
	p.set(p.says("two"))
	await(t, changed)
	if got := f.Want([]string{p.URL})[p.URL]; got.AuthorizationEndpoint != p.URL+"/two" {
		t.Errorf("%+v", got)
	}
}

func discoveredOnce(s discovery.State) bool { return !s.LastSuccess.IsZero() }

// TestS26HostileProviders: what isn't the issuer's own document is none, and what was good stays.
func TestS26HostileProviders(t *testing.T) {
	t.Parallel()
	inside := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect led to a private address") }))
	inside.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(inside.Close)
	for name, test := range map[string]struct {
		answer func(p *provider) http.HandlerFunc
		says   string
	}{
		"another issuer": {func(*provider) http.HandlerFunc {
			return (&provider{Server: &httptest.Server{URL: "https://evil.example"}}).says("a")
		}, "another issuer"},
		"open endpoint": {func(p *provider) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"issuer": %q, "authorization_endpoint": "http://idp.example/a", "token_endpoint": "%s/token"}`, p.URL, p.URL)
			}
		}, "authorization_endpoint: must be https"},
		"100 MB": {func(*provider) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				sent, _ := io.Copy(w, io.LimitReader(zeros{}, 100<<20))
				if sent > 50<<20 {
					t.Errorf("%d bytes were read", sent)
				}
			}
		}, "larger than"},
		"redirect inside": {func(*provider) http.HandlerFunc {
			return http.RedirectHandler(inside.URL+"/.well-known/openid-configuration", http.StatusFound).ServeHTTP
		}, "a redirect leads to an address that is private"},
		"redirect over http": {func(p *provider) http.HandlerFunc {
			return http.RedirectHandler(p.URL+"/other", http.StatusFound).ServeHTTP
		}, "a redirect leaves https"},
		"garbage": {func(*provider) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0, 1, 2}) }
		}, "malformed"},
		"not found": {func(*provider) http.HandlerFunc { return http.NotFound }, "404"},
		"cut off":   {func(*provider) http.HandlerFunc { return cutOff }, "EOF"},
		"no content": {func(*provider) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
		}, "204"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := serve(t, nil)
			p.set(test.answer(p))
			dir := filepath.Join(t.TempDir(), "kept")
			f, _ := newFetcher(t, discovery.Options{Keep: dir})
			f.Want([]string{p.URL})
			s := untilState(t, f, func(s discovery.State) bool { return s.Failures > 0 })
			if got := f.Want([]string{p.URL}); len(got) != 0 || !strings.Contains(s.LastError, test.says) {
				t.Errorf("%v, %q; want %q", got, s.LastError, test.says)
			}
			if strings.Contains(s.LastError, p.URL) || strings.Contains(s.LastError, "evil") {
				t.Errorf("%q tells more than what is wrong", s.LastError)
			}
			if kept, _ := filepath.Glob(dir + "/*"); len(kept) > 0 {
				t.Errorf("%v is kept", kept)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, "{")
}

func TestOnlyIssuersAreAsked(t *testing.T) {
	t.Parallel()
	f, _ := newFetcher(t, discovery.Options{})
	if got := f.Want([]string{"http://idp.example", "file:///etc/passwd", ""}); len(got) != 0 || len(f.States()) != 0 {
		t.Errorf("%v, %v", got, f.States())
	}
}

// TestADocumentOutlivesARestart, and is judged anew: whoever can write to the folder names no other provider.
func TestADocumentOutlivesARestart(t *testing.T) {
	t.Parallel()
	p, dir := serve(t, nil), filepath.Join(t.TempDir(), "providers")
	p.set(p.says("authorize"))
	f, changed := newFetcher(t, discovery.Options{Keep: dir})
	f.Want([]string{p.URL})
	await(t, changed)
	f.Close()
	kept, err := filepath.Glob(dir + "/*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v %v", kept, err)
	}
	p.set(down)
	f, changed = newFetcher(t, discovery.Options{Keep: dir})
	if got := f.Want([]string{p.URL})[p.URL]; got == nil || got.AuthorizationEndpoint != p.URL+"/authorize" {
		t.Fatalf("%v right after the restart", got)
	}
	s := untilState(t, f, func(s discovery.State) bool { return s.Failures > 0 })
	if f.Want([]string{p.URL})[p.URL] == nil || s.LastSuccess.IsZero() {
		t.Errorf("a failed fetch took the last good document away: %+v", s)
	}
	p.set(p.says("authorize"))
	untilState(t, f, func(s discovery.State) bool { return s.LastError == "" })
	if len(changed) != 0 {
		t.Error("the same document was told as a change")
	}
	if got := discovery.Kept(dir, []string{p.URL, "https://other.example"}); len(got) != 1 || got[p.URL] == nil {
		t.Errorf("kept: %v", got)
	}
	text, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept[0], []byte(strings.ReplaceAll(string(text), `"issuer": "http://127`, `"issuer": "http://128`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := discovery.Kept(dir, []string{p.URL}); len(got) != 0 {
		t.Errorf("of another issuer: %v", got)
	}
}
