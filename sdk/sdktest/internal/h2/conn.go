// Package h2 speaks HTTP/2 frame by frame, as client and as server, without any of HTTP's semantics: a test
// decides which frames there are and when, and sees those that come.
package h2

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

const (
	preface   = http2.ClientPreface
	frameSize = 16 << 10
	// ours is the window that peers get: no test is slowed down by it.
	ours = 16 << 20
	// theirs is the window without a setting of the peer's (RFC 9113 section 6.9.2).
	theirs = 65535
)

// conn is a connection of either role.
type conn struct {
	net    net.Conn
	framer *http2.Framer
	server bool
	accept func(s *Stream, h []link.Field) link.End

	mu      sync.Mutex // all below, and writing
	change  *sync.Cond
	encoder *hpack.Encoder
	block   bytes.Buffer
	streams map[uint32]*Stream
	next    uint32
	window  int64
	initial int64
	pings   map[[8]byte]chan struct{}
	pinged  uint64
	dead    bool
}

func newConn(c net.Conn, server bool) *conn {
	out := &conn{
		net: c, framer: http2.NewFramer(c, c), server: server, next: 1,
		streams: map[uint32]*Stream{}, window: theirs, initial: theirs, pings: map[[8]byte]chan struct{}{},
	}
	out.change = sync.NewCond(&out.mu)
	out.encoder = hpack.NewEncoder(&out.block)
	out.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	out.framer.MaxHeaderListSize = 1 << 20
	return out
}

// Client is a connection on which requests are made. It is used concurrently.
type Client struct{ c *conn }

// NewClient begins a connection on c, which it closes.
func NewClient(c net.Conn) (*Client, error) {
	out := newConn(c, false)
	if _, err := io.WriteString(c, preface); err != nil {
		return nil, err
	}
	if err := out.greet(); err != nil {
		return nil, err
	}
	go out.read()
	return &Client{out}, nil
}

// Open makes a stream whose answer goes to end.
func (c *Client) Open(end link.End) *Stream {
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	s := &Stream{conn: c.c, id: c.c.next, end: end, window: c.c.initial}
	c.c.next += 2
	c.c.streams[s.id] = s
	return s
}

// Close ends the connection.
func (c *Client) Close() error { return c.c.net.Close() }

// Ping returns when the peer has answered a PING, or is gone.
func (c *Client) Ping() { c.c.ping() }

func (c *conn) ping() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	c.pinged++
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], c.pinged)
	done := make(chan struct{})
	c.pings[data] = done
	_ = c.framer.WritePing(false, data)
	c.mu.Unlock()
	<-done
}

// Serve takes connections from l until it is closed. accept gets each request's headers with the stream to
// answer on, and returns where the rest of the request goes.
func Serve(l net.Listener, accept func(s *Stream, h []link.Field) link.End) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			out := newConn(c, true)
			out.accept = accept
			hello := make([]byte, len(preface))
			if _, err := io.ReadFull(c, hello); err != nil || out.greet() != nil {
				_ = c.Close()
				return
			}
			out.read()
		}()
	}
}

func (c *conn) greet() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: ours},
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1000}, http2.Setting{ID: http2.SettingEnablePush, Val: 0}); err != nil {
		return err
	}
	return c.framer.WriteWindowUpdate(0, ours)
}

// read takes frames until the connection ends.
func (c *conn) read() {
	defer c.die()
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			c.headers(f)
		case *http2.DataFrame:
			c.data(f)
		case *http2.RSTStreamFrame:
			if s := c.forget(f.StreamID); s != nil && s.end != nil {
				s.end.Reset()
			}
		default:
			c.control(f)
		}
	}
}

// control takes the frames that carry no message.
func (c *conn) control(f http2.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			for _, s := range c.streams {
				s.window += int64(v) - c.initial
			}
			c.initial = int64(v)
		}
		_ = c.framer.WriteSettingsAck()
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
		} else if s := c.streams[f.StreamID]; s != nil {
			s.window += int64(f.Increment)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			_ = c.framer.WritePing(true, f.Data)
		} else if done := c.pings[f.Data]; done != nil {
			delete(c.pings, f.Data)
			close(done)
		}
	}
	c.change.Broadcast()
}

func (c *conn) headers(f *http2.MetaHeadersFrame) {
	h := make([]link.Field, 0, len(f.Fields))
	for _, field := range f.Fields {
		h = append(h, link.Field{Name: field.Name, Value: field.Value})
	}
	c.mu.Lock()
	s := c.streams[f.StreamID]
	fresh := s == nil && c.server
	if fresh {
		s = &Stream{conn: c, id: f.StreamID, window: c.initial}
		c.streams[s.id] = s
	}
	c.mu.Unlock()
	if s == nil {
		return
	}
	if fresh {
		s.end = c.accept(s, h)
	}
	if s.end == nil {
		return
	}
	if s.begun && f.StreamEnded() && !hasStatus(h) {
		s.end.Trailers(h)
		return
	}
	s.begun = true
	s.end.Headers(h, f.StreamEnded())
}

func hasStatus(h []link.Field) bool {
	_, ok := link.Get(h, ":status")
	return ok
}

func (c *conn) data(f *http2.DataFrame) {
	c.mu.Lock()
	s := c.streams[f.StreamID]
	if n := f.Length; n > 0 { // what was taken in may come again
		_ = c.framer.WriteWindowUpdate(0, n)
		if s != nil && !f.StreamEnded() {
			_ = c.framer.WriteWindowUpdate(f.StreamID, n)
		}
	}
	c.mu.Unlock()
	if s != nil && s.end != nil {
		s.end.Data(bytes.Clone(f.Data()), f.StreamEnded())
	}
}

func (c *conn) forget(id uint32) *Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	delete(c.streams, id)
	if s != nil {
		s.gone = true
	}
	c.change.Broadcast()
	return s
}

// die resets all that is open.
func (c *conn) die() {
	_ = c.net.Close()
	c.mu.Lock()
	c.dead = true
	open := c.streams
	c.streams = map[uint32]*Stream{}
	for data, done := range c.pings {
		delete(c.pings, data)
		close(done)
	}
	c.change.Broadcast()
	c.mu.Unlock()
	for _, s := range open {
		if s.end != nil {
			s.end.Reset()
		}
	}
}
