package sdk

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestAFileThatMayBeReadAgainIsRead: a permission changes neither its time nor its size.
func TestAFileThatMayBeReadAgainIsRead(t *testing.T) {
	t.Parallel()
	// The superuser may read everything, unless this thread's file accesses are somebody else's.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // whoever that is may look for the file
		t.Fatal(err)
	}
	path := filepath.Join(dir, "f")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("old", 0o600)
	f, err := LoadFile(path, func(text []byte) (string, error) { return string(text), nil })
	if err != nil {
		t.Fatal(err)
	}
	write("newer", 0)
	if os.Geteuid() == 0 {
		_ = syscall.Setfsuid(65534)
	}
	f.check()
	if os.Geteuid() == 0 {
		_ = syscall.Setfsuid(0)
	}
	if got := *f.value.Load(); f.unread == "" || got != "old" {
		t.Fatalf("%q was read without a permission", got)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f.check()
	if got := *f.value.Load(); got != "newer" {
		t.Errorf("%q is still there", got)
	}
}
