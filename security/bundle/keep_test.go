package bundle_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/bundletest"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

func down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

func TestABundleOutlivesARestartWithoutItsServer(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "bundles")
	private, public := bundletest.Key(t)
	_, other := bundletest.Key(t)
	server := bundletest.Serve(t, bundletest.Signed(t, app("allow := true"), private, "RS256"))
	spec := from(server)
	spec.Key = &config.Source{Inline: public}
	f, fetched := newFetcher(t, bundle.Options{Keep: dir})
	subscribe(t, f, spec)
	until(t, fetched, good)
	f.Close()

	kept, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v %v", kept, err)
	}
	if info, err := os.Stat(kept[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("everybody can read the archive")
	}
	server.Answer(down)
	again := func(spec config.Bundle) (*bundle.Subscription, bundle.State) {
		f, fetched := newFetcher(t, bundle.Options{Keep: dir})
		use := subscribe(t, f, spec)
		return use, until(t, fetched, bad)
	}
	if use, s := again(spec); use.Current() == nil || s.Revision != "r1" || s.LastSuccess.IsZero() {
		t.Errorf("what was good isn't in force: %+v", s)
	}
	elsewhere, unsigned, foreign := spec, spec, spec
	elsewhere.URL, unsigned.Key, foreign.Key = server.URL+"/other", nil, &config.Source{Inline: other}
	for name, spec := range map[string]config.Bundle{"of another URL": elsewhere, "without a key": unsigned, "of another key": foreign} {
		if use, s := again(spec); use.Current() != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	text, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"cut off": text[:len(text)/2], "another's": bundletest.Archive(t, app("allow := true")), "empty": nil} {
		if err := os.WriteFile(kept[0], damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		if use, s := again(spec); use.Current() != nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	server.Publish(bundletest.Signed(t, app("allow := false"), private, "RS256"))
	f, fetched = newFetcher(t, bundle.Options{Keep: dir})
	use := subscribe(t, f, spec)
	if until(t, fetched, good); use.Current() == nil {
		t.Error("the server's bundle isn't in force")
	}
}

func TestKeptBundlesThatNobodyNeedsGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, recent := filepath.Join(dir, "old.tar.gz"), filepath.Join(dir, "recent.tar.gz")
	for _, path := range []string{old, recent} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-40 * 24 * time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	newFetcher(t, bundle.Options{Keep: dir})
	if _, err := os.Stat(old); err == nil {
		t.Error("the old one is still there")
	}
	if _, err := os.Stat(recent); err != nil {
		t.Error(err)
	}
}
