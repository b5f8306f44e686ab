package explain

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// Request is a request as a person writes it.
type Request struct {
	Method string `json:"method"`
	// URL is absolute. User name and password in it become an Authorization header, as curl does.
	URL string `json:"url"`
	// Headers are lines "name: value"; a Host line takes the place of the URL's host.
	Headers []string `json:"headers,omitempty"`
	// From is the address that the connection comes from; default 127.0.0.1.
	From string `json:"from,omitempty"`
	Body []byte `json:"body,omitempty"`
	// HTTP2 says that the request is sent by HTTP/2 instead of HTTP/1.1.
	HTTP2 bool `json:"http2,omitempty"`
}

// ErrRequest indicates a request that isn't one.
var ErrRequest = errors.New("unusable request")

// parse reads the request. portGiven says that the URL names its port.
func (r *Request) parse() (out *routing.Request, portGiven bool, err error) {
	scheme, rest, ok := strings.Cut(r.URL, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return nil, false, fmt.Errorf("%w: URL %q doesn't begin with http:// or https://", ErrRequest, r.URL)
	}
	out = &routing.Request{Method: r.Method, TLS: scheme == "https", Port: 80, Path: "/"}
	if out.TLS {
		out.Port = 443
	}
	if at := strings.IndexAny(rest, "/?#"); at >= 0 {
		rest, out.Path = rest[:at], rest[at:]
		if out.Path[0] != '/' {
			out.Path = "/" + out.Path
		}
		out.Path, _, _ = strings.Cut(out.Path, "#") // no client sends a fragment
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		out.Header = append(out.Header, exchange.Field{Name: "authorization", Value: basic(rest[:at])})
		rest = rest[at+1:]
	}
	if portGiven, err = hostPort(out, rest); err != nil {
		return nil, false, err
	}
	if err := r.headers(out); err != nil {
		return nil, false, err
	}
	from := r.From
	if from == "" {
		from = "127.0.0.1"
	}
	if out.Peer, err = netip.ParseAddr(from); err != nil {
		return nil, false, fmt.Errorf("%w: %q isn't an IP address", ErrRequest, r.From)
	}
	return out, portGiven, nil
}

func basic(userinfo string) string {
	plain, err := url.PathUnescape(userinfo)
	if err != nil {
		plain = userinfo
	}
	if !strings.Contains(plain, ":") {
		plain += ":"
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(plain))
}

func hostPort(out *routing.Request, authority string) (portGiven bool, err error) {
	out.Authority = authority
	host := authority
	if h, port, err := net.SplitHostPort(authority); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return false, fmt.Errorf("%w: port %q isn't a number up to 65535", ErrRequest, port)
		}
		out.Port, host, portGiven = uint16(n), h, true
	}
	host = strings.Trim(host, "[]")
	if host == "" {
		return false, fmt.Errorf("%w: the URL has no host", ErrRequest)
	}
	if address, err := netip.ParseAddr(host); err == nil {
		out.Address = address
	} else {
		out.ServerName = host
	}
	return portGiven, nil
}

func (r *Request) headers(out *routing.Request) error {
	for _, line := range r.Headers {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || name == "":
			// The line may hold a credential, so it isn't repeated.
			return fmt.Errorf("%w: a header isn't of the form 'name: value'", ErrRequest)
		case name == "host":
			out.Authority = value
			continue
		}
		out.Header = append(out.Header, exchange.Field{Name: name, Value: value})
	}
	if len(r.Body) > 0 && !has(out.Header, "content-length") {
		out.Header = append(out.Header, exchange.Field{Name: "content-length", Value: strconv.Itoa(len(r.Body))})
	}
	return nil
}

// protocol is what policies see.
func (r *Request) protocol() string {
	if r.HTTP2 {
		return "HTTP/2"
	}
	return "HTTP/1.1"
}

// reset says why Envoy resets the stream of a request by HTTP/2 (RFC 9113 section 8.2.2), "" if it doesn't: where
// HTTP/1.1 has an answer, there is none.
func (r *Request) reset(header []exchange.Field) string {
	if !r.HTTP2 {
		return ""
	}
	for _, f := range header {
		switch f.Name {
		case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
			return "the stream is reset: HTTP/2 has no header " + f.Name
		case "te":
			if f.Value != "trailers" {
				return "the stream is reset: te may only be trailers in HTTP/2"
			}
		}
		if strings.Contains(f.Name, "_") {
			return "the stream is reset: header " + f.Name + " has an underscore"
		}
	}
	return ""
}

func has(header []exchange.Field, name string) bool {
	for _, f := range header {
		if strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}
