// Package h1 speaks HTTP/1.1 as client and as server, one exchange on a connection, frame by frame: a test
// decides which there are and when, also such as don't fit the content-length.
package h1

import (
	"net"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// writeSize is what a peer reads at once.
const writeSize = 16 << 10

// Conn is one message's way to the peer, and the other's back. Its methods may be called from one goroutine
// at a time, but for Reset and Close.
type Conn struct {
	*Encoder
	net     net.Conn
	method  string
	endless bool // the message's end is the connection's
	barrier func()

	once   sync.Once
	closed chan struct{} // by this side
	failed error
	gone   chan struct{} // reading has ended
}

var _ link.Sender = (*Conn)(nil)

// Open begins a request on c, whose response goes to end. barrier returns when the peer has handled what it
// has read by then.
func Open(c net.Conn, end link.End, barrier func()) *Conn {
	out := newConn(c, barrier)
	out.Encoder = RequestEncoder(out.send)
	go out.read(ResponseDecoder(end, func() string { return out.method }))
	return out
}

// Serve takes connections from l until it is closed. accept gets each request's headers with the way for
// the response, and returns where the rest of the request goes.
func Serve(l net.Listener, accept func(back *Conn, h []link.Field) link.End, barrier func()) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		out := newConn(c, barrier)
		out.Encoder = ResponseEncoder(out.send, func() string { return out.method })
		go out.read(RequestDecoder(func(h []link.Field) link.End {
			out.method, _ = link.Get(h, ":method")
			return accept(out, h)
		}))
	}
}

func newConn(c net.Conn, barrier func()) *Conn {
	return &Conn{net: c, barrier: barrier, closed: make(chan struct{}), gone: make(chan struct{})}
}

func (c *Conn) read(d *Decoder) {
	defer close(c.gone)
	d.Broken = c.Reset
	p := make([]byte, 64<<10)
	for {
		n, err := c.net.Read(p)
		if n > 0 {
			d.Feed(p[:n])
		}
		if err == nil {
			continue
		}
		select {
		case <-c.closed: // what would have come isn't known
		default:
			d.Close()
		}
		return
	}
}

// Headers sends a header section.
func (c *Conn) Headers(h []link.Field, end bool) {
	if method, ok := link.Get(h, ":method"); ok {
		c.method = method
	}
	c.endless = c.endless || Upgraded(h, c.method)
	c.Encoder.Headers(h, end)
}

// Data sends a part of the body. The end of what was upgraded is the connection's.
func (c *Conn) Data(p []byte, end bool) {
	c.Encoder.Data(p, end)
	if end && c.endless {
		if half, ok := c.net.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
}

// send writes p in parts, each when the peer has handled the one before: so it is that peer, and not the
// size of a socket's buffer, who says how much is under way, and what is written apart isn't read together.
func (c *Conn) send(p []byte) {
	for len(p) > 0 {
		n := min(len(p), writeSize)
		if _, err := c.net.Write(p[:n]); err != nil {
			return
		}
		p = p[n:]
		c.Sync()
	}
}

// Sync returns when the peer has read all, and handled it, or is gone.
func (c *Conn) Sync() {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for unread(c.net) > 0 {
		select {
		case <-tick.C:
		case <-c.gone:
			return
		}
	}
	c.barrier()
}

// Reset breaks the message off: the connection ends.
func (c *Conn) Reset() { _ = c.Close() }

// Close ends the connection.
func (c *Conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.failed = c.net.Close()
	})
	return c.failed
}
