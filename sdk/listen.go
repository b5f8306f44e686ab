package sdk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is the size of sockaddr_un's sun_path on Linux, less its end; unix(7).
const maxSocketPath = 107

// listen opens host:port or unix:/path, the socket with the given mode. Where it takes over from another
// server, clients find it only once it is published.
func listen(ctx context.Context, addr string, mode fs.FileMode, takeover bool) (net.Listener, error) {
	var config net.ListenConfig
	path, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		return config.Listen(ctx, "tcp", addr)
	}
	if err := vacant(ctx, path, takeover); err != nil {
		return nil, err
	}
	// The socket is made under another name and renamed, so that nobody can connect before its mode is
	// set, and no client finds the path without a listener.
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	if len(temporary) > maxSocketPath {
		return nil, fmt.Errorf("listen %s: a socket's path may have %d bytes, and %d of them are for a temporary name: choose a shorter one",
			path, maxSocketPath, len(temporary)-len(path))
	}
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := config.Listen(ctx, "unix", temporary)
	if err != nil {
		return nil, err
	}
	if l, ok := listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false)
	}
	s := &socket{Listener: listener, path: path, temporary: temporary}
	if err = os.Chmod(temporary, mode); err == nil {
		s.file, err = os.Lstat(temporary)
	}
	if err == nil && !takeover {
		err = s.publish()
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// vacant refuses a path that is no socket, or whose socket is in use if that isn't to be taken over.
func vacant(ctx context.Context, path string, takeover bool) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("listen %s: the path exists and is no socket", path)
	}
	if takeover {
		return nil
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("listen %s: %w", path, syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen %s: %w", path, err)
	}
	return nil // stale, renaming replaces it
}

// socket is a listener with a path of its own, which it removes when it is closed, unless another has taken it
// over.
type socket struct {
	net.Listener

	path string
	file fs.FileInfo

	mu        sync.Mutex
	temporary string // "" once it is published
}

// publish gives the socket its path, in place of one that has it.
func (s *socket) publish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.temporary == "" {
		return nil
	}
	err := os.Rename(s.temporary, s.path)
	if err == nil {
		s.temporary = ""
	}
	return err
}

func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

func (s *socket) Close() error {
	err := s.Listener.Close()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.temporary != "" {
		_ = os.Remove(s.temporary)
		return nil
	}
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.file) {
		_ = os.Remove(s.path)
	}
	return nil
}
