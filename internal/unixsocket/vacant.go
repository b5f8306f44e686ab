package unixsocket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// Vacant returns an error if a socket must not be put at path: something else is there, or a socket that
// somebody listens on ([syscall.EADDRINUSE]). What a process left that has ended is in nobody's way.
func Vacant(ctx context.Context, path string) error {
	found, err := Replaceable(path)
	if err != nil || !found {
		return err
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(fmt.Errorf("socket %s: another process listens on it: %w", path, syscall.EADDRINUSE), conn.Close())
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("socket %s: %w", path, err)
}

// Replaceable reports whether there is a socket at path; anything else there is an error.
func Replaceable(path string) (bool, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return false, fmt.Errorf("socket %s: the path exists and is no socket", path)
	}
	return true, nil
}
