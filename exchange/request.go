package exchange

import (
	"net/http"
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
	// Trailer is filled when Body is at its end, where the proxy sends it. Edits made until then are sent
	// with it; a request without trailers can't be given any.
	Trailer Header

	head    Head
	conn    Conn
	ext     Extensions
	values  *values
	newPath bool
	reroute bool
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

// Init makes r, which is zero, what [NewRequest] returns. For hosts that have the memory already.
func (r *Request) Init(head Head, conn Conn, header Header, body Body, ext Extensions) {
	r.head, r.conn, r.Header, r.Body, r.ext = head, conn, header, body, ext
}

// Method returns the request method, such as "GET".
func (r *Request) Method() string { return r.head.Method }

// Authority returns the host, with a port if one was sent.
func (r *Request) Authority() string { return r.head.Authority }

// Scheme returns "http" or "https".
func (r *Request) Scheme() string { return r.head.Scheme }

// Path returns the path with the query.
func (r *Request) Path() string { return r.head.Path }

// SetPath edits the path with its query (the :path pseudo-header, RFC 9113 section 8.3.1). With reroute
// the proxy chooses the route again in the same step; what the new route configures for filters that
// the request has already passed, an authorizer for one, does not apply. Only an [Exchange] sends it.
func (r *Request) SetPath(path string, reroute bool) {
	r.head.Path = path
	r.newPath = true
	r.reroute = r.reroute || reroute
}

// PathEdit reports whether SetPath was called and whether any call asked for a new route. For hosts.
func (r *Request) PathEdit() (edited, reroute bool) { return r.newPath, r.reroute }

// IsUpgrade reports whether the request asks to leave HTTP for another protocol: CONNECT (RFC 9110
// section 9.3.6) or an Upgrade header. What looks like its body is then a byte stream without an end.
func (r *Request) IsUpgrade() bool {
	return r.head.Method == http.MethodConnect || r.Header.Has("upgrade")
}

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
