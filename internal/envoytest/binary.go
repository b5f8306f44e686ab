package envoytest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Version is the Envoy release that Gatehouse is built and tested for.
const Version = "1.40.0"

// Binary returns the path of the Envoy to test with: $ENVOY, else envoy in PATH, else
// .tools/envoy-1.40.0/envoy in the module's root or in a directory above it. Without one the test fails.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("ENVOY"); path != "" {
		return path
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatalf("working directory: %v", err)
	}
	for {
		path := filepath.Join(dir, ".tools", "envoy-"+Version, "envoy")
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatalf("no Envoy binary: set $ENVOY, put envoy %s in PATH, or unpack it to .tools/envoy-%s/envoy", Version, Version)
		}
		dir = parent
	}
}

// Validate fails the test unless `envoy --mode validate` accepts the bootstrap.
func Validate(t testing.TB, bootstrap string) {
	t.Helper()
	if out, err := Check(t, bootstrap); err != nil {
		t.Errorf("envoy rejects the configuration: %v\n%s", err, out)
	}
}

// Check runs `envoy --mode validate` and returns what Envoy printed; err is not nil if it rejects the
// bootstrap. For tests that expect a rejection.
func Check(t testing.TB, bootstrap string) (output string, err error) {
	t.Helper()
	file := writeBootstrap(t, SocketDir(t), bootstrap)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, Binary(t), "--mode", "validate", "-c", file,
		"--log-level", "warning", "--use-dynamic-base-id").CombinedOutput()
	return string(out), err
}

// SocketDir makes a directory for Unix sockets, whose paths have at most 107 bytes: t.TempDir's holds
// the test's name. It is deleted when the test ends.
func SocketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func writeBootstrap(t testing.TB, dir, bootstrap string) string {
	t.Helper()
	file := filepath.Join(dir, "bootstrap.yaml")
	if err := os.WriteFile(file, []byte(bootstrap), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
