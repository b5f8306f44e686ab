// Package link is how the two ends of an HTTP exchange are joined to a proxy, be it the emulated one or a
// real Envoy: as the frames of one HTTP/2 stream.
package link

import "github.com/gatehouse-proxy/gatehouse/exchange"

// Field is a header line; names are in lower case, pseudo-headers among them.
type Field = exchange.Field

// An End takes the frames of one message. Calls are made one after the other; what is passed may be kept.
type End interface {
	// Headers takes the header section. Several may come in a response, the informational ones first.
	Headers(h []Field, end bool)
	// Data takes a part of the body, which may be empty.
	Data(p []byte, end bool)
	// Trailers takes the trailer section, which is the end.
	Trailers(h []Field)
	// Reset is the end of a message that isn't complete.
	Reset()
}

// A Sender is an End that leads to the proxy.
type Sender interface {
	End
	// Sync returns when the proxy has taken in all that was sent before, or is gone.
	Sync()
}

// Get returns the first value of name.
func Get(h []Field, name string) (value string, ok bool) {
	for _, f := range h {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}
