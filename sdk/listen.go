package sdk

import (
	"context"
	"io/fs"
	"net"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/unixsocket"
)

// listen opens host:port or unix:/path, the socket with the given mode. Where it takes over from another
// server, clients find it only once it is published.
func listen(ctx context.Context, addr string, mode fs.FileMode, takeover bool) (net.Listener, error) {
	path, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		return new(net.ListenConfig).Listen(ctx, "tcp", addr)
	}
	if err := free(ctx, path, takeover); err != nil {
		return nil, err
	}
	l, err := unixsocket.Listen(path, unixsocket.Access{Mode: mode, UID: -1, GID: -1})
	if err != nil || takeover {
		return l, err
	}
	if err := l.Publish(); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

func free(ctx context.Context, path string, takeover bool) error {
	if takeover {
		_, err := unixsocket.Replaceable(path)
		return err
	}
	return unixsocket.Vacant(ctx, path)
}
