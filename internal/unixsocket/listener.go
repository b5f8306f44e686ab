// Package unixsocket binds Unix sockets that nobody can connect to before their mode and owner are set, that may
// take a path over from another process, and whose clients aren't lost when a successor does.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// maxPath is the size of sockaddr_un's sun_path on Linux, less its end; unix(7).
const maxPath = 107

// Access says who may connect.
type Access struct {
	Mode     fs.FileMode // permission bits
	UID, GID int         // -1: as the process
}

// Private is for the process's own user alone.
func Private() Access { return Access{Mode: 0o600, UID: -1, GID: -1} }

// Listener listens on a socket that has its path from [Listener.Publish] to [Listener.Close], unless another
// takes that over. Methods are safe for concurrent use.
type Listener struct {
	*net.UnixListener

	path string
	file fs.FileInfo

	mu        sync.Mutex
	directory string // the socket's until it is published; then ""

	retirement retirement
}

// Listen binds a socket for path, which clients find once it is published. The error says what to do about a
// path that is too long.
func Listen(path string, access Access) (*Listener, error) {
	directory, err := os.MkdirTemp(filepath.Dir(path), ".g") // mode 0700, and a short name
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l, err := bind(path, directory, access)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", path, err), os.RemoveAll(directory))
	}
	return l, nil
}

func bind(path, directory string, access Access) (*Listener, error) {
	name := filepath.Join(directory, "s")
	if longest := max(len(name), len(path)); longest > maxPath {
		return nil, fmt.Errorf("a socket's path may have %d bytes and this, or the temporary one beside it, has %d: choose a shorter one",
			maxPath, longest)
	}
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	if err != nil {
		return nil, err
	}
	unix.SetUnlinkOnClose(false)
	err = errors.Join(os.Chmod(name, access.Mode), os.Chown(name, access.UID, access.GID))
	file, missing := os.Lstat(name)
	if err = errors.Join(err, missing); err != nil {
		return nil, errors.Join(err, unix.Close())
	}
	return &Listener{UnixListener: unix, path: path, file: file, directory: directory}, nil
}

// Publish gives the socket its path, in place of one that has it, with no moment in between. It does nothing the
// second time.
func (l *Listener) Publish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.directory == "" {
		return nil
	}
	if err := os.Rename(filepath.Join(l.directory, "s"), l.path); err != nil {
		return err
	}
	err := os.Remove(l.directory)
	l.directory = ""
	return err
}

// Addr implements [net.Listener] with the path that clients use.
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close implements [net.Listener] and removes the path if it is still this socket's.
func (l *Listener) Close() error {
	return errors.Join(l.UnixListener.Close(), l.vanish())
}

// vanish takes away what clients could find the socket by.
func (l *Listener) vanish() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.directory != "" {
		return os.RemoveAll(l.directory)
	}
	now, err := os.Lstat(l.path)
	if err == nil && os.SameFile(now, l.file) {
		err = os.Remove(l.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
