package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

func TestTheManifestsWorkAsTheyAreAndWithFreshKeys(t *testing.T) {
	t.Parallel()
	k, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	moved := t.TempDir()
	if err := writeManifests(moved, ports{http: 11, https: 12, backend: 13, processor: 14}, k); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"as they are": ".", "with fresh keys": moved} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			accepted(t, dir)
		})
	}
}

// accepted asks everyone who will have to accept them: the decoder, the translator, the policy engine
// and Envoy.
func accepted(t *testing.T, dir string) {
	t.Helper()
	source, err := files.New([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	set, problems, err := source.Load()
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	result := translator.New(translator.Options{
		ControllerNames: []string{translator.ControllerName}, SealKey: bytes.Repeat([]byte("k"), 32),
	}).Translate(set, nil)
	for _, c := range result.Conditions {
		if c.Fault() || c.Type == "Warning" {
			t.Errorf("%s %s=%v %s: %s", c.Object, c.Type, c.True, c.Reason, c.Message)
		}
	}
	if n := len(result.Snapshot.Policies); n != 6 {
		t.Errorf("%d policies", n)
	}
	for _, p := range result.Snapshot.Policies {
		compiled, err := policy.Compile(p.Spec, policy.Deps{Data: p.Data})
		if err != nil {
			t.Errorf("%s: %v", p.Spec.Name, err)
			continue
		}
		compiled.Close()
	}
	static, err := envoy.Static(result.Snapshot, envoy.BootstrapOptions{NodeID: "test", AuthorizerSocket: "/nonexistent.sock"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := envoy.YAML(static)
	if err != nil {
		t.Fatal(err)
	}
	binary, err := proxy.Find(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := proxy.Validate(t.Context(), binary, text); err != nil {
		t.Error(err)
	}
}

func TestThePortsOfTheManifestsMove(t *testing.T) {
	t.Parallel()
	k, err := newKeys()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := writeManifests(dir, ports{http: 11, https: 12, backend: 13, processor: 14}, k); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, port := range []string{"port: 11\n", "port: 12\n", "port: 13\n", "port: 14\n"} {
		if n := strings.Count(all.String(), port); n != 1 {
			t.Errorf("%q is there %d times", port, n)
		}
	}
	for _, port := range []string{"port: 8080", "port: 8443", "port: 9001", "port: 9002"} {
		if strings.Contains(all.String(), port) {
			t.Errorf("%q is still there", port)
		}
	}
}
