package sdk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// maxSocketPath is the size of sockaddr_un's sun_path on Linux, less its end; unix(7).
const maxSocketPath = 107

// listen opens host:port or unix:/path, the socket with the given mode.
func listen(ctx context.Context, addr string, mode fs.FileMode) (net.Listener, error) {
	var config net.ListenConfig
	path, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		return config.Listen(ctx, "tcp", addr)
	}
	if err := vacant(ctx, path); err != nil {
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
	if err = os.Chmod(temporary, mode); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = listener.Close()
		_ = os.Remove(temporary)
		return nil, err
	}
	return &socket{Listener: listener, path: path}, nil
}

// vacant refuses a path whose socket is in use, or that is no socket.
func vacant(ctx context.Context, path string) error {
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

// socket removes its path when it is closed, under the name that it got by renaming.
type socket struct {
	net.Listener
	path string
}

func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

func (s *socket) Close() error {
	err := s.Listener.Close()
	if err == nil {
		_ = os.Remove(s.path)
	}
	return err
}
