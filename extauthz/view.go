package extauthz

import (
	"net/netip"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/verdict"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// view is what is read of a CheckRequest, in Envoy's own terms. All strings are pieces of the message.
// Each method reads one message type on top of what an earlier piece of the same field gave, because
// protobuf merges repeated sub-messages.
type view struct {
	source, destination peer
	seconds             int64
	nanos               int32
	extensions          extensions
	serverName          string
	http                httpRequest
	hasHTTP             bool
}

type peer struct {
	address   address
	principal string
}

type address struct {
	host string
	port uint32
}

type httpRequest struct {
	id, method, path, host, scheme, protocol string
	joined                                   extensions
	lines                                    []exchange.Field
	body, rawBody                            string
}

// maxLines is where a request is refused as nonsense; Envoy's own limit is 100 headers by default.
const maxLines = 2048

func (v *view) parse(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		if r.Tag == 1<<3|wire.Len {
			r.Sub(v.attributes)
		}
	}
	return r.Err()
}

// attributes reads an AttributeContext.
func (v *view) attributes(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Len:
			r.Sub(v.source.parse)
		case 2<<3 | wire.Len:
			r.Sub(v.destination.parse)
		case 4<<3 | wire.Len:
			r.Sub(v.request)
		case 10<<3 | wire.Len:
			r.Sub(v.extensions.entry)
		case 12<<3 | wire.Len:
			r.Sub(v.tlsSession)
		}
	}
	return r.Err()
}

func (v *view) tlsSession(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		if r.Tag == 1<<3|wire.Len {
			v.serverName = r.Text()
		}
	}
	return r.Err()
}

// request reads an AttributeContext.Request.
func (v *view) request(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Len:
			r.Sub(v.timestamp)
		case 2<<3 | wire.Len:
			v.hasHTTP = true
			r.Sub(v.http.parse)
		}
	}
	return r.Err()
}

func (v *view) timestamp(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Varint:
			v.seconds = int64(r.Number)
		case 2<<3 | wire.Varint:
			v.nanos = int32(r.Number)
		}
	}
	return r.Err()
}

func (v *view) time() time.Time {
	if v.seconds == 0 && v.nanos == 0 {
		return time.Time{}
	}
	return time.Unix(v.seconds, int64(v.nanos)).UTC()
}

func (p *peer) parse(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Len:
			r.Sub(p.address.parse)
		case 4<<3 | wire.Len:
			p.principal = r.Text()
		}
	}
	return r.Err()
}

// parse reads a config.core.v3.Address, a oneof: a pipe or an internal address that follows a socket
// address replaces it.
func (a *address) parse(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Len:
			r.Sub(a.socket)
		case 2<<3 | wire.Len, 3<<3 | wire.Len:
			*a = address{}
		}
	}
	return r.Err()
}

func (a *address) socket(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		switch r.Tag {
		case 2<<3 | wire.Len:
			a.host = r.Text()
		case 3<<3 | wire.Varint:
			a.port = uint32(r.Number)
		case 4<<3 | wire.Len: // a named port replaces a number
			a.port = 0
			r.Text()
		}
	}
	return r.Err()
}

// addrPort is invalid for what is no IP address, such as the peer of a Unix socket.
func (a *address) addrPort() netip.AddrPort {
	if a.host == "" {
		return netip.AddrPort{} // an error would be an allocation
	}
	ip, err := netip.ParseAddr(a.host)
	if err != nil || a.port > 65535 {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(verdict.PlainAddress(ip), uint16(a.port))
}

// parse reads an AttributeContext.HttpRequest.
func (h *httpRequest) parse(msg string) error {
	r := wire.Read(msg)
	for r.Next() {
		switch r.Tag {
		case 1<<3 | wire.Len:
			h.id = r.Text()
		case 2<<3 | wire.Len:
			h.method = r.Text()
		case 3<<3 | wire.Len:
			r.Sub(h.joined.entry)
		case 4<<3 | wire.Len:
			h.path = r.Text()
		case 5<<3 | wire.Len:
			h.host = r.Text()
		case 6<<3 | wire.Len:
			h.scheme = r.Text()
		case 10<<3 | wire.Len:
			h.protocol = r.Text()
		case 11<<3 | wire.Len:
			h.body = r.Text()
		case 12<<3 | wire.Len:
			h.rawBody = r.Bytes
		case 13<<3 | wire.Len:
			r.Sub(h.headerMap)
		}
	}
	return r.Err()
}

func (h *httpRequest) headerMap(msg string) (err error) {
	h.lines, err = wire.AppendHeaderMap(h.lines, msg)
	if err == nil && len(h.lines) > maxLines {
		return wire.ErrMalformed
	}
	return err
}

// extensions is a map<string, string> in wire order. Such maps are small, and a scan is cheaper than a
// hash table made for one look-up.
type extensions []exchange.Field //nolint:recvcheck // the decoder fills it, requests read a copy

func (e *extensions) entry(msg string) error {
	key, value, err := wire.MapEntry(msg)
	if err != nil {
		return err
	}
	for i := range *e {
		if (*e)[i].Name == key {
			(*e)[i].Value = value
			return nil
		}
	}
	if len(*e) >= maxLines {
		return wire.ErrMalformed
	}
	*e = append(*e, exchange.Field{Name: key, Value: value})
	return nil
}

// Extension implements [exchange.Extensions].
func (e extensions) Extension(key string) (string, bool) {
	for i := range e {
		if e[i].Name == key {
			return e[i].Value, true
		}
	}
	return "", false
}

// Extensions implements [exchange.Extensions].
func (e extensions) Extensions(yield func(key, value string) bool) {
	for i := range e {
		if !yield(e[i].Name, e[i].Value) {
			return
		}
	}
}
