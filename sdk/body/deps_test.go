package body_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestOnlyWhoCompressesLinksCompression: the libraries of br and zstd are for those who import this
// package.
func TestOnlyWhoCompressesLinksCompression(t *testing.T) {
	t.Parallel()
	const module = "github.com/gatehouse-proxy/gatehouse/"
	links := func(packages ...string) (found []string) {
		out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, packages...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(dep, "github.com/andybalholm/brotli") || strings.HasPrefix(dep, "github.com/klauspost/compress") {
				found = append(found, dep)
			}
		}
		return found
	}
	if found := links(module+"sdk", module+"extproc", module+"extauthz", module+"exchange"); found != nil {
		t.Errorf("the SDK links %q", found)
	}
	if found := links(module + "sdk/body"); found == nil {
		t.Error("this package links no compression, so the test sees nothing")
	}
}
