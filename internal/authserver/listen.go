package authserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os/user"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/unixsocket"
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

// maxSocketPath is what the kernel takes (unix(7)).
const maxSocketPath = 107

// checkListen reports an address of neither form.
func checkListen(text string) error {
	path, socket := strings.CutPrefix(text, "unix:")
	switch {
	case socket && path == "":
		return errors.New("--listen unix: names no path, such as unix:/run/gatehouse.sock")
	case socket && len(path) > maxSocketPath:
		return fmt.Errorf("--listen: the path of a Unix socket has at most %d bytes", maxSocketPath)
	case !socket && !isHostPort(text):
		return fmt.Errorf("--listen %q is neither host:port nor unix:/path", text)
	}
	return nil
}

func isHostPort(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// listen binds the configured address. A socket file that nobody listens on is replaced.
func listen(ctx context.Context, config *Config) (net.Listener, error) {
	path, ok := strings.CutPrefix(config.Listen, "unix:")
	if !ok {
		return new(net.ListenConfig).Listen(ctx, "tcp", config.Listen)
	}
	if err := unixsocket.Vacant(ctx, path); err != nil {
		return nil, err
	}
	uid, gid, err := owner(config.SocketOwner)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l, err := unixsocket.Listen(path, unixsocket.Access{Mode: fs.FileMode(config.SocketMode), UID: uid, GID: gid})
	if err != nil {
		return nil, err
	}
	if err := l.Publish(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
