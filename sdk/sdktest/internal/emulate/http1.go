package emulate

import (
	"strings"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// fromClient is what the connection manager makes of a request's headers before any filter sees them: what
// is the connection's goes, and whoever waits to be told to go on with the body is told so.
func (s *shared) fromClient(h []link.Field) []link.Field {
	if expect, _ := link.Get(h, "expect"); strings.EqualFold(expect, "100-continue") {
		s.cfg.Client.Headers([]link.Field{{Name: ":status", Value: "100"}}, false)
		h = remove(h, "expect")
	}
	if s.cfg.HTTP1 {
		h = hopFree(h)
	}
	return h
}

// brokenOff says how an upstream has broken off: as a status and in words. The end of a connection in the
// midst of chunks is no HTTP/1.
func (s *shared) brokenOff() (code int, reason string) {
	if !s.cfg.HTTP1 {
		return 503, "remote reset"
	}
	if s.down.fields != nil && !s.sized {
		return 502, "protocol error"
	}
	return 503, "connection termination"
}

// closing adds what tells a client over HTTP/1 that the rest of its request isn't read.
func (s *shared) closing(h []link.Field) []link.Field {
	if s.cfg.HTTP1 && !s.up.whole {
		return append(h, link.Field{Name: "connection", Value: "close"})
	}
	return h
}
