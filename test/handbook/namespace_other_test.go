//go:build !linux

package handbook_test

import "testing"

// The addresses that the handbook's Services have.
const (
	backendAddress = "7.7.7.7"
	authAddress    = "7.7.7.8"
	extProcAddress = "7.7.7.9"
)

func isolated(t *testing.T, _ func(t *testing.T)) {
	t.Helper()
	t.Fatal("the handbook's examples need network namespaces: run these tests on Linux, or in a Linux container")
}

func resolve(*testing.T, string) {}
