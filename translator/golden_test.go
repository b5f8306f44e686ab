package translator_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/render"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

func newTranslator() *translator.Translator {
	return translator.New(translator.Options{
		ControllerNames: []string{translator.ControllerName, translator.EnvoyGatewayControllerName}, SealKey: []byte("key"), SystemRoots: "testdata/roots.pem",
	})
}

// load decodes a manifest; problems in it fail the test.
func load(t testing.TB, manifests string) *resource.Set {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in.yaml"), []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := files.New([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	set, problems, err := source.Load()
	if err != nil || len(problems) > 0 {
		t.Fatalf("load: %v %v", err, problems)
	}
	return set
}

// TestGolden compares the exact xDS and conditions of each case with its file, and has Envoy load it.
// After a wanted change: go test ./translator -run Golden -update, and read the difference.
func TestGolden(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			result := newTranslator().Translate(load(t, section(archive, "in.yaml")), nil)
			got := map[string]string{"conditions": conditions(result)}
			for _, kind := range []string{"listener", "route", "cluster", "endpoint", "secret"} {
				var out bytes.Buffer
				if err := render.Snapshot(&out, result.Snapshot, render.Options{Format: render.YAML, Type: kind}); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(out.String(), "s: []") {
					got[kind] = out.String()
				}
			}
			var bootstrap bytes.Buffer
			if err := render.Snapshot(&bootstrap, result.Snapshot, render.Options{Format: render.Envoy, Type: render.All, StateDir: "/tmp"}); err != nil {
				t.Fatal(err)
			}
			envoytest.Validate(t, bootstrap.String())
			compare(t, path, archive, got)
		})
	}
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func conditions(r *translator.Result) string {
	var all strings.Builder
	for _, c := range r.Conditions {
		fmt.Fprintf(&all, "%s [%s] %s=%t %s: %s\n", c.Object, c.Ancestor, c.Type, c.True, c.Reason, c.Message)
	}
	return all.String()
}

// compare checks the sections that the file has; listeners are the same in most cases and left out there.
func compare(t *testing.T, path string, archive *txtar.Archive, got map[string]string) {
	t.Helper()
	for i, f := range archive.Files {
		if f.Name == "in.yaml" {
			continue
		}
		if *update {
			archive.Files[i].Data = []byte(got[f.Name])
		} else if got[f.Name] != string(f.Data) {
			t.Errorf("%s is\n%s\nwant\n%s", f.Name, got[f.Name], f.Data)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
