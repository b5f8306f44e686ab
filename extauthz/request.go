package extauthz

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/verdict"
)

const (
	// ClientAddressKey is the context extension that says where the client's address comes from. Its
	// one value, "header", means [ClientIPHeader]; anything else means the TCP peer.
	ClientAddressKey = verdict.ClientAddressKey
	// BodyKey is the context extension by which a filter with with_request_body says so: its one value is
	// "buffered". Without it a missing body can't be told from one that wasn't sent here.
	BodyKey = "gatehouse.body"
	// ClientIPHeader carries the client's address as Envoy detected it, without a port. A listener of Gatehouse's own
	// also says in it how it is detected, so that an address that should have been told and wasn't isn't the proxy's.
	ClientIPHeader = verdict.ClientIPHeader

	// partialBodyHeader is Envoy's remark about a body it cut at max_request_bytes.
	partialBodyHeader = "x-envoy-auth-partial-body"
)

// The reasons why a request is refused before an authorizer sees it.
var (
	errNoRequest = errors.New("the CheckRequest holds no HTTP request")
	errMismatch  = errors.New("a pseudo-header differs from the attribute of the same meaning")
	errJoined    = errors.New("headers were joined (encode_raw_headers is off) and that hides repeated ones")
)

// decoded is a request and what it is made of, in one piece of memory.
type decoded struct {
	request    exchange.Request
	extensions extensions
	pairs      [4]exchange.Field
	lines      [24]exchange.Field
}

// decode reads a CheckRequest. Its error never quotes the request.
func (d *decoded) decode(msg string) error {
	v := view{extensions: d.pairs[:0], http: httpRequest{lines: d.lines[:0]}}
	if err := v.parse(msg); err != nil {
		return err
	}
	if !v.hasHTTP || v.http.method == "" {
		return errNoRequest
	}
	seen, err := v.http.headers()
	if err != nil {
		return err
	}
	head := exchange.Head{
		Method: v.http.method, Authority: v.http.host, Scheme: v.http.scheme, Path: v.http.path,
		Protocol: v.http.protocol, ID: v.http.id, Size: seen.size, Time: v.time(),
	}
	header := exchange.NewHeader(seen.lines...)
	buffered, _ := v.extensions.Extension(BodyKey)
	body := v.http.content(&seen, buffered == "buffered")
	d.extensions = v.extensions
	d.request.Init(head, v.conn(&seen), header, body, &d.extensions)
	return nil
}

func (v *view) conn(seen *headers) exchange.Conn {
	conn := exchange.Conn{
		Peer:        v.source.address.addrPort(),
		Destination: v.destination.address.addrPort(),
		Principal:   v.source.principal,
		ServerName:  v.serverName,
	}
	conn.Client = conn.Peer.Addr()
	if from, _ := v.extensions.Extension(ClientAddressKey); from == "header" {
		conn.Client = seen.client()
	}
	return conn
}

// headers is the client's header lines and what the engine itself reads of them.
type headers struct {
	lines     []exchange.Field
	clientIP  string
	clientIPs int
	size      int64 // content-length; -1 if absent or not one plain number
	partial   bool
	chunked   bool
}

// headers takes pseudo-headers and our own header out of the lines.
func (h *httpRequest) headers() (headers, error) {
	lines := h.lines
	if len(lines) == 0 {
		lines = h.joined
		for _, line := range lines {
			if joinable(line.Name) && strings.Contains(line.Value, ",") {
				return headers{}, errJoined
			}
		}
	}
	seen := headers{lines: lines[:0], size: -1}
	lengths := 0
	for _, line := range lines {
		switch line.Name {
		case ":method", ":path", ":authority", ":scheme":
			if !h.agrees(line) {
				return headers{}, errMismatch
			}
			continue
		case ClientIPHeader:
			seen.clientIP = line.Value
			seen.clientIPs++
			continue
		case partialBodyHeader:
			// The client may have sent one too: only a plain "false" from everybody means whole.
			seen.partial = seen.partial || line.Value != "false"
		case "content-length":
			lengths++
			seen.size = length(line.Value)
		case "transfer-encoding":
			seen.chunked = true
		}
		if strings.HasPrefix(line.Name, ":") {
			continue
		}
		seen.lines = append(seen.lines, line)
	}
	if lengths > 1 {
		seen.size = -1
	}
	return seen, nil
}

// joinable tells the headers of which a request has one, and whose commas would otherwise be data.
func joinable(name string) bool {
	return name == "authorization" || name == "origin" || name == "cookie"
}

// agrees compares a raw pseudo-header with the attribute, which Envoy has made printable: where they
// differ, a policy would judge another text than the upstream gets.
func (h *httpRequest) agrees(line exchange.Field) bool {
	switch line.Name {
	case ":method":
		return line.Value == h.method
	case ":path":
		return line.Value == h.path
	case ":authority":
		return line.Value == h.host
	default:
		return line.Value == h.scheme
	}
}

func length(value string) int64 {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

// client is the detected address, invalid unless there is exactly one and it is an address.
func (s *headers) client() netip.Addr {
	if s.clientIPs != 1 {
		return netip.Addr{}
	}
	return verdict.ClientAddress(s.clientIP, s.lines)
}

// content is the body as far as Envoy sent it. Envoy sends none both when there is none and when the
// filter has no with_request_body, so an empty one is only reported where the headers prove it.
// With [BodyKey] the filter is known to buffer, and what it didn't send isn't there.
func (h *httpRequest) content(seen *headers, buffered bool) exchange.Body {
	body := h.rawBody
	if body == "" {
		body = h.body
	}
	if body == "" && buffered {
		return exchange.BufferedBody(nil, seen.partial || seen.size > 0)
	}
	if body == "" {
		http1 := strings.HasPrefix(h.protocol, "HTTP/1")
		if seen.size == 0 || http1 && seen.size < 0 && !seen.chunked {
			return exchange.BufferedBody(nil, seen.partial)
		}
		return exchange.Body{}
	}
	return exchange.BufferedBody([]byte(body), seen.partial || seen.size > int64(len(body)))
}
