package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

const quickstart = "../../examples/quickstart"

// TestQuickstartTranslates: Envoy loads the result as it is.
func TestQuickstartTranslates(t *testing.T) {
	t.Parallel()
	stdout, stderr, code := command(t, "translate", "-f", quickstart, "-o", "envoy", "--state", t.TempDir())
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	envoytest.Validate(t, stdout)
}

// TestOrderAndFilesDontMatter: any order of documents and any split into files gives the same bytes.
func TestOrderAndFilesDontMatter(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	translate := func(format, dir string) string {
		stdout, stderr, code := command(t, "translate", "-f", dir, "-o", format, "--state", state)
		if code != 0 {
			t.Fatalf("exit %d: %s", code, stderr)
		}
		return stdout
	}
	documents := quickstartDocuments(t)
	for _, format := range []string{"envoy", "yaml", "json"} {
		want := translate(format, quickstart)
		for range 5 {
			rand.Shuffle(len(documents), func(i, j int) { documents[i], documents[j] = documents[j], documents[i] })
			if got := translate(format, split(t, documents)); got != want {
				t.Fatalf("-o %s: another order gave other bytes:\n%s", format, strings.Join(documents, "\n---\n"))
			}
		}
	}
}

func quickstartDocuments(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(quickstart, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	var documents []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for document := range strings.SplitSeq("\n"+string(text), "\n---") {
			documents = append(documents, document)
		}
	}
	return documents
}

// split writes the documents into files of one to three each.
func split(t *testing.T, documents []string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; len(documents) > 0; i++ {
		n := min(len(documents), 1+rand.IntN(3))
		path := filepath.Join(dir, string(rune('a'+i%26))+itoa(i)+".yaml")
		if err := os.WriteFile(path, []byte(strings.Join(documents[:n], "\n---")), 0o600); err != nil {
			t.Fatal(err)
		}
		documents = documents[n:]
	}
	return dir
}
