package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/state"
)

func TestASecondGatewayOnTheSameStateIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a", "b")
	first, err := state.LockDir(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = state.LockDir(path)
	if !errors.Is(err, state.ErrInUse) {
		t.Fatalf("second: %v", err)
	}
	for _, says := range []string{path, strconv.Itoa(os.Getpid()), "--state"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%v doesn't say %q", err, says)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := state.LockDir(path)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	defer again.Close()
	if got, want := again.Path("x.sock"), filepath.Join(path, "x.sock"); got != want {
		t.Errorf("Path = %q, want %q", got, want)
	}
}

func TestTheStateDirectoryIsPrivate(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := state.LockDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAStateDirectoryThatCannotBeMadeIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := state.LockDir(filepath.Join(file, "state")); err == nil || errors.Is(err, state.ErrInUse) {
		t.Errorf("error %v", err)
	}
}
