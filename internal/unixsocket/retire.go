package unixsocket

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// retirement is how far a listener's end has come.
type retirement struct {
	begun  atomic.Bool
	empty  atomic.Bool  // no connection waits to be accepted, and none can come
	unread atomic.Int64 // accepted, and nobody has begun to read
}

// Retire takes the path away, if no successor has, and returns when every client that has connected by then is
// being served, or with ctx's error: what the kernel has connected and nobody has accepted yet would be lost by
// Close, and so would a connection that a server which stops hasn't begun to read. Somebody must be calling
// Accept, as a server does.
func (l *Listener) Retire(ctx context.Context) error {
	if err := l.vanish(); err != nil {
		return err
	}
	l.retirement.begun.Store(true)
	if err := l.SetDeadline(time.Now()); err != nil { // wakes Accept
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !l.retirement.empty.Load() || l.retirement.unread.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err == nil {
			l.retirement.unread.Add(1)
			return &connection{UnixConn: conn, served: sync.OnceFunc(func() { l.retirement.unread.Add(-1) })}, nil
		}
		if !l.retirement.begun.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		if err := l.next(); err != nil {
			return nil, err
		}
	}
}

// next has a retiring listener accept what still waits, and then wait for its Close.
func (l *Listener) next() error {
	waiting, err := l.waiting()
	if err != nil {
		return err
	}
	if waiting {
		return l.SetDeadline(time.Now().Add(time.Second))
	}
	l.retirement.empty.Store(true)
	return l.SetDeadline(time.Time{})
}

// connection counts as served from the first Read, or once it is closed.
type connection struct {
	*net.UnixConn

	served func()
}

// Read implements [net.Conn].
func (c *connection) Read(p []byte) (int, error) {
	c.served()
	return c.UnixConn.Read(p)
}

// Close implements [net.Conn].
func (c *connection) Close() error {
	c.served()
	return c.UnixConn.Close()
}
