package exchange

import (
	"net/netip"
	"time"
)

// Request is the request of an exchange, as far as it has arrived. Strings from it may be kept. It is
// used by one goroutine at a time.
type Request struct {
	// Header holds the lines without pseudo-headers.
	Header Header
	// Body is read, watched or rewritten through its methods; untouched it passes unchanged.
	Body Body
	// Trailer is filled when Body is at its end.
	Trailer Header

	head Head
	conn Conn
	ext  Extensions
}

// Head is a request's control data: what HTTP/2 carries in pseudo-headers, and what the proxy adds.
type Head struct {
	Method    string
	Authority string // host[:port] as sent
	Scheme    string
	Path      string // with query, as the proxy normalised it
	Protocol  string // "HTTP/1.1", "HTTP/2", …; "" if the host doesn't know
	ID        string // the proxy's request id (x-request-id); may be ""
	Size      int64  // body bytes if known, else -1
	Time      time.Time
}

// Conn is what the host knows of the client's connection. Zero values mean unknown.
type Conn struct {
	Peer        netip.AddrPort // the TCP peer: perhaps another proxy
	Destination netip.AddrPort
	// Client is the client's address: the peer, or what the proxy's trusted detection says. Invalid
	// when the host has neither, and then no rule about addresses may allow.
	Client     netip.Addr
	Principal  string // identity in the client's certificate
	ServerName string // TLS SNI
}

// Extensions are key/value pairs that the proxy's configuration, never the client, attaches to a
// request: ext_authz context extensions, ext_proc initial metadata.
type Extensions interface {
	Extension(key string) (value string, ok bool)
	Extensions(yield func(key, value string) bool)
}

// NewRequest is for hosts and tests. ext may be nil.
func NewRequest(head Head, conn Conn, header Header, body Body, ext Extensions) *Request {
	return &Request{head: head, conn: conn, Header: header, Body: body, ext: ext}
}

// Method returns the request method, such as "GET".
func (r *Request) Method() string { return r.head.Method }

// Authority returns the host, with a port if one was sent.
func (r *Request) Authority() string { return r.head.Authority }

// Scheme returns "http" or "https".
func (r *Request) Scheme() string { return r.head.Scheme }

// Path returns the path with the query.
func (r *Request) Path() string { return r.head.Path }

// Head returns the control data.
func (r *Request) Head() Head { return r.head }

// Conn returns what is known of the connection.
func (r *Request) Conn() Conn { return r.conn }

// Extension returns a value the proxy's configuration attached to the request.
func (r *Request) Extension(key string) (string, bool) {
	if r.ext == nil {
		return "", false
	}
	return r.ext.Extension(key)
}

// Extensions yields all such values, in no particular order.
func (r *Request) Extensions(yield func(key, value string) bool) {
	if r.ext != nil {
		r.ext.Extensions(yield)
	}
}
