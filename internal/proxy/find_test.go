package proxy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
)

const commit = "9e5580933739775e8bce696a57a2e1bc99368f23"

// fakeEnvoy is a program that says it is an Envoy.
func fakeEnvoy(t *testing.T, dir, name, answer string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+answer+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvoyIsLookedForInOrder(t *testing.T) {
	explicit := fakeEnvoy(t, t.TempDir(), "flag-envoy", "")
	inEnv := fakeEnvoy(t, t.TempDir(), "env-envoy", "")
	pathDir := t.TempDir()
	inPath := fakeEnvoy(t, pathDir, "envoy", "envoy  version: "+commit+"/1.40.0/Clean/RELEASE/BoringSSL")
	oldDir := t.TempDir()
	old := fakeEnvoy(t, oldDir, "envoy", "envoy  version: "+commit+"/1.22.0/Clean/RELEASE/BoringSSL")
	work := t.TempDir()
	fetched := fakeEnvoy(t, filepath.Join(work, ".tools", "envoy-1.40.0"), "envoy", "")
	deep := filepath.Join(work, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, explicit, env, path, dir, want string }{
		{"flag first", explicit, inEnv, pathDir, work, explicit},
		{"then the environment", "", inEnv, pathDir, work, inEnv},
		{"then PATH", "", "", pathDir, work, inPath},
		{"then what make envoy fetched", "", "", "/nonexistent", work, fetched},
		{"rather than an old one in PATH", "", "", oldDir, work, fetched},
		{"which is better than nothing", "", "", oldDir, t.TempDir(), old},
		{"also from a directory below", "", "", "/nonexistent", deep, fetched},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("ENVOY", test.env)
			t.Setenv("PATH", test.path)
			t.Chdir(test.dir)
			got, err := proxy.Find(t.Context(), test.explicit)
			if err != nil || got != test.want {
				t.Errorf("Find = %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestAMissingEnvoySaysWhatToDo(t *testing.T) {
	for _, test := range []struct{ name, explicit, env, says string }{
		{"nowhere", "", "", "make envoy"},
		{"a wrong flag never falls back", "/nonexistent/envoy", "", "/nonexistent/envoy"},
		{"a wrong ENVOY never falls back", "", "/nonexistent/envoy", "$ENVOY"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("ENVOY", test.env)
			t.Setenv("PATH", "/nonexistent")
			t.Chdir(t.TempDir())
			_, err := proxy.Find(t.Context(), test.explicit)
			if !errors.Is(err, proxy.ErrNotFound) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestTheVersionOfEnvoyIsChecked(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answer, version, says string
		old                   bool
	}{
		{answer: "envoy  version: " + commit + "/1.40.0/Clean/RELEASE/BoringSSL", version: "1.40.0"},
		{answer: "envoy  version: " + commit + "/1.41.0-dev/Modified/DEBUG/BoringSSL", version: "1.41.0-dev"},
		{answer: "envoy  version: " + commit + "/2.0.1/Clean/RELEASE/BoringSSL", version: "2.0.1"},
		{answer: "envoy  version: " + commit + "/1.39.7/Clean/RELEASE/BoringSSL", version: "1.39.7", old: true, says: "1.39.7, and 1.40.0 or later is needed"},
		{answer: "hello", says: "not the answer of an Envoy"},
	} {
		t.Run(test.answer, func(t *testing.T) {
			t.Parallel()
			fake := fakeEnvoy(t, t.TempDir(), "envoy", test.answer)
			if got, _ := proxy.Version(t.Context(), fake); got != test.version {
				t.Errorf("Version = %q, want %q", got, test.version)
			}
			err := proxy.CheckVersion(t.Context(), fake)
			if errors.Is(err, proxy.ErrTooOld) != test.old || (err != nil) != (test.says != "") {
				t.Fatalf("CheckVersion: %v", err)
			}
			if err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
	if err := proxy.CheckVersion(t.Context(), binary(t)); err != nil {
		t.Error(err)
	}
}

func TestEnvoyJudgesAConfiguration(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, bootstrap, says string }{
		{"good YAML", bootstrap("/nonexistent/a.sock", 1, "127.0.0.1:2"), ""},
		{"good JSON", `{"static_resources": {}}`, ""},
		{"unknown field", `{"static_resources": {"lizards": []}}`, "no such field: 'lizards'"},
		{"unknown filter", "static_resources: {listeners: [{name: a, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [{name: foo}]}]}]}",
			"Didn't find a registered implementation for 'foo' with type URL: ''"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := proxy.Validate(t.Context(), binary(t), []byte(test.bootstrap))
			if test.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var rejected *proxy.RejectedError
			if !errors.As(err, &rejected) || !strings.Contains(rejected.Words, test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "gatehouse-validate") {
				t.Errorf("the temporary file is named: %v", err)
			}
		})
	}
	if err := proxy.Validate(t.Context(), "/nonexistent/envoy", []byte("{}")); err == nil || errors.As(err, new(*proxy.RejectedError)) {
		t.Errorf("a missing Envoy is no verdict: %v", err)
	}
}
