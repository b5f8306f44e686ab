package extproc

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/verdict"
	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// attributes are what Envoy sends with the first message of each direction, decoded at their first use.
type attributes struct {
	raw    string
	values map[string]any
}

func (a *attributes) add(raw string) {
	a.raw += raw
	a.values = nil
}

func (a *attributes) get(name string) (string, bool) {
	switch v := a.all()[name].(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		return "", false
	}
}

func (a *attributes) all() map[string]any {
	if a.values == nil && a.raw != "" {
		a.values = map[string]any{}
		if wire.ReadStruct(a.values, a.raw) != nil {
			a.values = map[string]any{}
		}
	}
	return a.values
}

func (a *attributes) text(names ...string) string {
	for _, name := range names {
		if v, ok := a.get(name); ok && v != "" {
			return v
		}
	}
	return ""
}

func (a *attributes) address(name string) netip.AddrPort {
	addr, err := netip.ParseAddrPort(a.text(name))
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(verdict.PlainAddress(addr.Addr()), addr.Port())
}

func (a *attributes) conn() exchange.Conn {
	if a.raw == "" {
		return exchange.Conn{}
	}
	peer := a.address("source.address")
	return exchange.Conn{
		Peer: peer, Client: peer.Addr(), Destination: a.address("destination.address"),
		// The order in which Envoy fills the principal that ext_authz sees.
		Principal: a.text("connection.uri_san_peer_certificate", "connection.dns_san_peer_certificate",
			"connection.subject_peer_certificate"),
		ServerName: a.text("connection.requested_server_name"),
	}
}

// newRequest makes the request of a request-headers message.
func (s *stream) newRequest(m *message) {
	a := &s.attributes
	head := exchange.Head{Size: -1, Protocol: a.text("request.protocol"), ID: a.text("request.id")}
	if text := a.text("request.time"); text != "" {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			head.Time = t
		}
	}
	lines := m.lines[:0]
	for _, line := range m.lines {
		switch line.Name {
		case ":method":
			head.Method = line.Value
		case ":path":
			head.Path = line.Value
		case ":authority":
			head.Authority = line.Value
		case ":scheme":
			head.Scheme = line.Value
		case "content-length":
			head.Size = number(line.Value)
		case "x-request-id":
			if head.ID == "" {
				head.ID = line.Value
			}
		}
		if !strings.HasPrefix(line.Name, ":") {
			lines = append(lines, line)
		}
	}
	if m.endOfStream {
		head.Size = 0
	}
	s.request = &s.own.request
	body := exchange.StreamedBody(&s.flows[requestSide], m.endOfStream)
	header := exchange.NewHeader(lines...)
	header.NoteEditsIn(s.own.edited[requestSide][:0])
	s.request.Init(head, a.conn(), header, body, (*initial)(s))
}

// number reads a number without a sign, -1 if it is none: an error would be an allocation.
func number(text string) int64 {
	if text == "" || len(text) > 18 {
		return -1
	}
	n := int64(0)
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// newResponse makes the response of a response-headers message.
func (s *stream) newResponse(m *message) {
	f := &s.flows[responseSide]
	status := 0
	lines := m.lines[:0]
	for _, line := range m.lines {
		if line.Name == ":status" {
			status = int(max(number(line.Value), 0))
		}
		if !strings.HasPrefix(line.Name, ":") {
			lines = append(lines, line)
		}
	}
	s.response = &s.own.response
	header := exchange.NewHeader(lines...)
	header.NoteEditsIn(s.own.edited[responseSide][:0])
	s.response.Init(status, header, exchange.StreamedBody(f, f.bodiless))
}

// initial is the stream's initial gRPC metadata, which Envoy's configuration sets per route
// (ExtProcOverrides.grpc_initial_metadata) and no client reaches. Keys of Gatehouse's own may also come as
// attributes of those names (MappedAttributeBuilder.mapped_request_attributes).
type initial stream

// ownKeys begin the keys that may come as attributes. Others may not: request.path is the client's.
const ownKeys = "gatehouse."

// Extension returns the value of a key that has exactly one. One of Gatehouse's own with several has none: which of
// them is meant isn't known.
func (i *initial) Extension(key string) (string, bool) {
	values := metadata.ValueFromIncomingContext(i.transport.Context(), key)
	switch {
	case len(values) == 1:
		return values[0], true
	case !strings.HasPrefix(key, ownKeys):
		return "", false
	case len(values) > 1:
		return "", true
	}
	return i.attributes.get(key)
}

// Extensions yields the keys that have exactly one value.
func (i *initial) Extensions(yield func(key, value string) bool) {
	md, _ := metadata.FromIncomingContext(i.transport.Context())
	for key, values := range md {
		if len(values) == 1 && !yield(key, values[0]) {
			return
		}
	}
	for key := range i.attributes.all() {
		value, ok := i.attributes.get(key)
		if ok && strings.HasPrefix(key, ownKeys) && len(md.Get(key)) == 0 && !yield(key, value) {
			return
		}
	}
}
