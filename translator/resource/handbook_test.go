package resource_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

const handbook = "../../test/handbook/testdata"

// load builds a set of whole files.
func load(t *testing.T, files ...string) (*resource.Set, []resource.Problem) {
	t.Helper()
	builder := resource.NewBuilder(nil)
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(handbook, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, chunk := range resource.Split(text) {
			builder.Add(resource.Decode(chunk.Text), resource.Origin{File: file, Line: chunk.Line})
		}
	}
	return builder.Build()
}

func TestHandbookManifestsLoadUnmodified(t *testing.T) {
	t.Parallel()
	// What is wrong with a file that isn't listed here is nothing.
	broken := map[string]string{
		"06-btp-timeout-retry.yaml": "06-btp-timeout-retry.yaml:13: BackendTrafficPolicy tenant/timeout-retry: spec.timeout.backendRequest: is not a known field",
	}
	files, err := filepath.Glob(filepath.Join(handbook, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no handbook manifests: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, problems := load(t, name)
			for _, warning := range set.AllWarnings() {
				t.Log("warning:", warning)
			}
			for _, problem := range problems {
				if want := broken[name]; want == "" || !strings.HasPrefix(problem.String(), want) {
					t.Error("problem:", problem)
				}
			}
			if broken[name] != "" && len(problems) == 0 {
				t.Error("loads now; remove it from the list of broken files")
			}
		})
	}
}
