//go:build !linux

package netnstest

import "testing"

// Run fails: there are no network namespaces.
func Run(t *testing.T, _ []string, _ func(t *testing.T)) {
	t.Helper()
	t.Fatal("this needs network namespaces: run these tests on Linux, or in a Linux container")
}

// Resolve does nothing.
func Resolve(*testing.T, string) {}
