package bundle_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/bundletest"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// app is a bundle that owns one package.
func app(module string) map[string]string {
	return map[string]string{".manifest": `{"revision": "r1", "roots": ["app"]}`, "app/rules.rego": "package app\n" + module, "app/data.json": `{"known": ["alice"]}`}
}

// newFetcher reports each fetch on the channel.
func newFetcher(t *testing.T, opts bundle.Options) (*bundle.Fetcher, <-chan bundle.State) {
	t.Helper()
	fetched := make(chan bundle.State, 1000)
	opts.OnFetch = func(s bundle.State) { fetched <- s }
	opts.Logger = slog.New(slog.DiscardHandler)
	opts.FirstRetry, opts.LastRetry = time.Millisecond, 5*time.Millisecond
	f := bundle.NewFetcher(opts)
	t.Cleanup(f.Close)
	return f, fetched
}

// until waits for a fetch with the property.
func until(t *testing.T, fetched <-chan bundle.State, property func(bundle.State) bool) bundle.State {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case s := <-fetched:
			if property(s) {
				return s
			}
		case <-limit:
			t.Fatal("not fetched in time")
		}
	}
}

func good(s bundle.State) bool { return s.LastError == "" }
func bad(s bundle.State) bool  { return s.LastError != "" }

func subscribe(t *testing.T, f *bundle.Fetcher, spec config.Bundle) *bundle.Subscription {
	t.Helper()
	use, err := f.Subscribe("team-a/api", &spec, ast.RegoV1, nil, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(use.Release)
	return use
}

// from is a bundle of a test's server.
func from(s *bundletest.Server) config.Bundle {
	return config.Bundle{URL: s.URL + "/app.tar.gz?token=hunter2", CACertificate: &config.Source{Inline: s.CA}, AllowPrivateAddresses: true, PollInterval: time.Second}
}

func TestABundleIsFetchedOnceAndKeptFresh(t *testing.T) {
	t.Parallel()
	server := bundletest.Serve(t, bundletest.Archive(t, app("allow := true")))
	f, fetched := newFetcher(t, bundle.Options{})
	use, other := subscribe(t, f, from(server)), subscribe(t, f, from(server))
	state := until(t, fetched, good)
	if len(use.Current().Modules) != 1 || use.Current() != other.Current() || state.Revision != "r1" || len(state.Uses) != 2 {
		t.Fatalf("%+v", state)
	}
	if strings.Contains(state.URL, "hunter2") {
		t.Errorf("the query is shown: %s", state.URL)
	}
	before := use.Current()
	until(t, fetched, good)
	if server.Sent.Load() != 1 || use.Current() != before {
		t.Errorf("an unchanged bundle is sent %d times", server.Sent.Load())
	}
	server.Publish(bundletest.Archive(t, app("allow := false")))
	until(t, fetched, func(bundle.State) bool { return use.Current() != before })
}

func TestTheLastGoodBundleStays(t *testing.T) {
	t.Parallel()
	server := bundletest.Serve(t, bundletest.Archive(t, app("allow := true")))
	f, fetched := newFetcher(t, bundle.Options{})
	use := subscribe(t, f, from(server))
	until(t, fetched, good)
	before := use.Current()
	for name, answer := range map[string]http.HandlerFunc{
		"down":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"empty":      func(http.ResponseWriter, *http.Request) {},
		"no archive": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bundletest.Archive(t, app("allow := true"))[:90])
		},
		"syntax": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bundletest.Archive(t, app("allow if {"))) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
		"not modified?": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	} {
		server.Answer(answer)
		if s := until(t, fetched, bad); use.Current() != before || s.LastSuccess.IsZero() {
			t.Errorf("%s: %+v", name, s)
		}
	}
	server.Publish(bundletest.Archive(t, app("allow := false")))
	if s := until(t, fetched, good); use.Current() == before || s.LastError != "" {
		t.Errorf("%+v", s)
	}
}

func TestS26HostileBundleServers(t *testing.T) {
	t.Parallel()
	bomb := func() []byte {
		var out bytes.Buffer
		w := gzip.NewWriter(&out)
		_, _ = io.Copy(w, io.LimitReader(zeros{}, 65<<20))
		_ = w.Close()
		return out.Bytes()
	}()
	private, _ := bundletest.Key(t)
	signed := bundletest.Signed(t, app("allow := true"), private, "RS256")
	for name, c := range map[string]struct {
		answer []byte
		want   string
	}{
		"bomb":          {bomb, "unpacked"},
		"huge":          {bytes.Repeat([]byte("x"), 17<<20), "too large"},
		"escaping data": {bundletest.Archive(t, map[string]string{".manifest": `{"roots": ["app"]}`, "../../etc/data.json": `{"a": 1}`}), ""},
		"outside roots": {bundletest.Archive(t, map[string]string{".manifest": `{"roots": ["app"]}`, "x.rego": "package envoy.authz\nallow := true"}), "roots"},
		"wasm":          {bundletest.Archive(t, map[string]string{"policy.wasm": "\x00asm"}), "WebAssembly"},
		"delta":         {bundletest.Archive(t, map[string]string{"patch.json": `{"data": [{"op": "upsert", "path": "/a", "value": 1}]}`}), "delta"},
		"signed":        {signed, "signing.keyRef"},
		"two manifests": {bundletest.Archive(t, map[string]string{".manifest": `{}`, "a/.manifest": `{}`}), "manifest"},
		"secret text":   {bundletest.Archive(t, map[string]string{"a.rego": "package a\nx if { \"hunter2\" == @ }"}), "a.rego:2"},
		"bad data":      {bundletest.Archive(t, map[string]string{"data.json": `{"a": hunter2}`}), ""},
		"deep data":     {bundletest.Archive(t, map[string]string{"data.json": strings.Repeat("[", 1<<20)}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := bundletest.Serve(t, c.answer)
			f, fetched := newFetcher(t, bundle.Options{})
			use := subscribe(t, f, from(server))
			s := until(t, fetched, func(bundle.State) bool { return true })
			if s.LastError == "" || !strings.Contains(s.LastError, c.want) || strings.Contains(s.LastError, "hunter2") || use.Current() != nil {
				t.Errorf("%q", s.LastError)
			}
		})
	}
	f, _ := newFetcher(t, bundle.Options{})
	for name, spec := range map[string]config.Bundle{
		"http":           {URL: "http://bundles.example/a.tar.gz"},
		"private":        {URL: "https://10.0.0.1/a.tar.gz"},
		"link-local":     {URL: "https://169.254.169.254/a.tar.gz"},
		"credentials":    {URL: "https://u:p@bundles.example/a.tar.gz"},
		"file":           {URL: "file:///etc/passwd"},
		"no URL":         {URL: "bundles.example"},
		"often":          {URL: "https://bundles.example/a.tar.gz", PollInterval: time.Millisecond},
		"no certificate": {URL: "https://bundles.example/a.tar.gz", CACertificate: &config.Source{Inline: "x"}},
		"no key":         {URL: "https://bundles.example/a.tar.gz", Key: &config.Source{Ref: "Secret/a/b/key"}},
	} {
		if _, err := f.Subscribe("a/b", &spec, ast.RegoV1, nil, func() {}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBundlesOfFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.tar.gz")
	put := func(module string) {
		t.Helper()
		if err := os.WriteFile(path+".new", bundletest.Archive(t, app(module)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	put("allow := true")
	f, fetched := newFetcher(t, bundle.Options{AllowFiles: true})
	use := subscribe(t, f, config.Bundle{URL: "file://" + path})
	before := use.Current()
	if before == nil {
		t.Fatal("a file isn't read at once")
	}
	put("allow := false")
	until(t, fetched, func(bundle.State) bool { return use.Current() != before })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if until(t, fetched, bad); use.Current() == nil {
		t.Error("a file that is gone takes its contents along")
	}
	for _, odd := range []string{"file://" + filepath.Dir(path) + "/../x", "file://host/x", "file:x", "file:///x?y"} {
		if _, err := f.Subscribe("a/b", &config.Bundle{URL: odd}, ast.RegoV1, nil, func() {}); err == nil {
			t.Errorf("%s is accepted", odd)
		}
	}
}

// The first look asks the policies when the next one is due, so the first policy has to be there before it.
func TestTheFirstWaitIsThePolicys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.tar.gz")
	if err := os.WriteFile(path, bundletest.Archive(t, app("allow := true")), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _ := newFetcher(t, bundle.Options{AllowFiles: true})
	subscribe(t, f, config.Bundle{URL: "file://" + path, PollInterval: time.Hour})
	state := f.States()[0]
	if wait := state.Next.Sub(state.LastAttempt); wait < 48*time.Minute {
		t.Errorf("the next look is due after %s, the policy asked for an hour", wait)
	}
}
