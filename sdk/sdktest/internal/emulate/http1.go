package emulate

import (
	"net/http"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// fromClient is what the connection manager makes of a request's headers before any filter sees them: what
// is the connection's goes, unless it asks for an upgrade, and whoever waits to be told to go on with the
// body is told so. Extended CONNECT (RFC 8441) becomes the upgrade that it is over HTTP/1.
func (s *shared) fromClient(h []link.Field) []link.Field {
	if expect, _ := link.Get(h, "expect"); strings.EqualFold(expect, "100-continue") {
		s.cfg.Client.Headers([]link.Field{{Name: ":status", Value: "100"}}, false)
		h = remove(h, "expect")
	}
	s.protocol, _ = link.Get(h, "upgrade")
	s.upgrade = s.protocol != "" || s.method == http.MethodConnect
	if _, ok := link.Get(h, ":scheme"); !ok {
		h = append(h, link.Field{Name: ":scheme", Value: "http"})
	}
	if protocol, ok := link.Get(h, ":protocol"); ok {
		s.protocol = protocol
		h = append(set(remove(h, ":protocol"), ":method", http.MethodGet, false), upgrading(protocol)...)
	}
	if s.cfg.HTTP1 && !s.upgrade {
		h = hopFree(h)
	}
	return h
}

func upgrading(protocol string) []link.Field {
	return []link.Field{{Name: "connection", Value: "upgrade"}, {Name: "upgrade", Value: protocol}}
}

// toUpstream is what the codec makes of a request's headers: over HTTP/2 an upgrade is an extended CONNECT.
func (s *shared) toUpstream(h []link.Field) []link.Field {
	switch {
	case s.cfg.HTTP1 || !s.upgrade:
	case s.protocol != "":
		h = set(remove(remove(h, "connection"), "upgrade"), ":method", http.MethodConnect, false)
		h = append([]link.Field{{Name: ":protocol", Value: s.protocol}}, h...)
	default:
		h = remove(h, ":scheme")
	}
	return h
}

// fromUpstream is a response's headers as the filters see them.
func (s *shared) fromUpstream(h []link.Field) []link.Field {
	_, s.sized = link.Get(h, "content-length")
	status, _ := link.Get(h, ":status")
	if !s.cfg.HTTP1 && s.protocol != "" && status == "200" {
		h = append(set(h, ":status", "101", false), upgrading(s.protocol)...)
	}
	return h
}

// toClient is a response's headers as they go to the client.
func (s *shared) toClient(h []link.Field) []link.Field {
	status, _ := link.Get(h, ":status")
	switch {
	case status == "101" && s.cfg.HTTP1:
		return h
	case status == "101" && s.protocol != "":
		h = set(remove(h, "upgrade"), ":status", "200", false)
	}
	h = hopFree(h)
	tunnel := s.method == http.MethodConnect && strings.HasPrefix(status, "2")
	if s.cfg.HTTP1 && !s.up.whole && !tunnel { // the rest of the request isn't read
		h = append(h, link.Field{Name: "connection", Value: "close"})
	}
	return h
}

// brokenOff says how an upstream has broken off: as a status and in words. The end of a connection in the
// midst of chunks is no HTTP/1.
func (s *shared) brokenOff() (code int, reason string) {
	if !s.cfg.HTTP1 {
		return 503, "remote reset"
	}
	if s.down.fields != nil && !s.sized && !s.upgrade {
		return 502, "protocol error"
	}
	return 503, "connection termination"
}
