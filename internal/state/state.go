// Package state owns the directory in which a stand-alone gateway keeps its sockets, its seal key and
// the last configuration that Envoy accepted.
package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrInUse means that another process holds the directory.
var ErrInUse = errors.New("state directory is in use")

// lockName is the file whose lock stands for the directory. It holds the owner's process id, for the
// message of whoever comes second, and is never removed: a removed file's lock excludes nobody.
const lockName = "lock"

// Dir is a locked state directory. It stays locked until Close, or until the process ends, however it
// ends.
type Dir struct {
	path string
	file *os.File
}

// LockDir makes the directory at path if need be, restricts it to its owner (mode 0700: whoever can
// connect to the sockets in it can decide requests) and locks it. If another process holds it, the
// error wraps [ErrInUse] and names that process and the remedy.
func LockDir(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // G302: nobody enters a directory without x
		return nil, fmt.Errorf("state directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	if err := lock(file); err != nil {
		defer func() { _ = file.Close() }()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		return nil, fmt.Errorf("%w: %s belongs to a running gateway%s: stop it, or choose another directory by --state",
			ErrInUse, path, owner(file))
	}
	if err := errors.Join(file.Truncate(0), writePID(file)); err != nil {
		return nil, fmt.Errorf("state directory: %w", errors.Join(err, file.Close()))
	}
	return &Dir{path: path, file: file}, nil
}

// Path returns the directory's absolute path, or that of an entry of it.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Names returns the directory's absolute path and, if links lead there, the path behind them.
func (d *Dir) Names() []string {
	names := []string{d.path}
	if resolved, err := filepath.EvalSymlinks(d.path); err == nil && resolved != d.path {
		names = append(names, resolved)
	}
	return names
}

// Close unlocks the directory. What is in it stays.
func (d *Dir) Close() error { return d.file.Close() }

func lock(file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func writePID(file *os.File) error {
	_, err := fmt.Fprintln(file, os.Getpid())
	return err
}

func owner(file *os.File) string {
	text := make([]byte, 32)
	n, _ := file.ReadAt(text, 0)
	if pid := strings.TrimSpace(string(text[:n])); pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}
