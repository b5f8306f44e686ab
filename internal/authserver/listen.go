package authserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// SocketMode is the mode of a Unix socket, in octal digits.
type SocketMode fs.FileMode

// MarshalText implements [encoding.TextMarshaler].
func (m SocketMode) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(m), 8), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (m *SocketMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q isn't a mode such as 600 or 660", text)
	}
	*m = SocketMode(n)
	return nil
}

// owner reads USER or USER:GROUP, names or numbers; -1 leaves one as it is.
func owner(text string) (uid, gid int, err error) {
	if text == "" {
		return -1, -1, nil
	}
	name, group, _ := strings.Cut(text, ":")
	if uid, err = number(name, func() (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	}); err != nil {
		return 0, 0, err
	}
	gid, err = number(group, func() (string, error) {
		g, err := user.LookupGroup(group)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	return uid, gid, err
}

func number(text string, lookup func() (string, error)) (int, error) {
	if text == "" {
		return -1, nil
	}
	if n, err := strconv.Atoi(text); err == nil {
		return n, nil
	}
	id, err := lookup()
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}

// listen binds the configured address. A socket file that nobody listens on is replaced.
func listen(ctx context.Context, config *Config) (net.Listener, error) {
	path, ok := strings.CutPrefix(config.Listen, "unix:")
	if !ok {
		return net.Listen("tcp", config.Listen)
	}
	if conn, err := new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process", path), conn.Close())
	}
	l, err := bind(path, config)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return l, nil
}

// bind makes the socket where nobody else can go, and moves it when its mode and owner are set: a file beside
// the path could be connected to before.
func bind(path string, config *Config) (net.Listener, error) {
	uid, gid, err := owner(config.SocketOwner)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".g") // mode 0700; short, for socket paths have 108 bytes
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	temporary := filepath.Join(dir, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(temporary, fs.FileMode(config.SocketMode)), os.Chown(temporary, uid, gid), os.Rename(temporary, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &socket{UnixListener: l, path: path}, nil
}

// socket removes its path when it is closed.
type socket struct {
	*net.UnixListener

	path string
}

// Close implements [net.Listener].
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if removal := os.Remove(s.path); removal != nil && !errors.Is(removal, os.ErrNotExist) {
		err = errors.Join(err, removal)
	}
	return err
}
