package sdktest

import (
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/h1"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// What stands between the emulated filter and ends that speak HTTP/1: the bytes, made and read by the codec
// that the ends of a real Envoy's exchange use too.

// wired is a message's way over the wire into the emulator.
type wired struct {
	*h1.Encoder
	peer *h1.Decoder // the emulator's
	// entry is where the emulator takes the message in.
	entry func() link.Sender
}

func (w *wired) Data(p []byte, end bool) {
	w.Encoder.Data(p, end)
	if end {
		w.peer.End()
	}
}

func (w *wired) Sync() { w.entry().Sync() }

func (w *wired) Reset() {
	if w.peer.Over() { // the message was complete; that whoever sent it goes is news all the same
		w.entry().Reset()
		return
	}
	w.peer.Close()
}

// unwired is the emulator's way over the wire to an end.
type unwired struct {
	*h1.Encoder
	peer *h1.Decoder
}

func (u *unwired) Data(p []byte, end bool) {
	u.Encoder.Data(p, end)
	if end {
		u.peer.End()
	}
}

// Trailers don't pass Envoy over HTTP/1, unless it is told that they may.
func (u *unwired) Trailers([]link.Field) { u.Data(nil, true) }

func (u *unwired) Reset() { u.peer.Close() }

// wireClient puts the wire between the client and the emulator: toward is where responses go, from where
// requests are sent. The emulator is started once it has been made.
func wireClient(client link.End, entry func() link.Sender) (toward link.End, from link.Sender) {
	method := ""
	asked := func() string { return method }
	back := h1.ResponseDecoder(client, asked)
	in := h1.RequestDecoder(func(h []link.Field) link.End {
		method, _ = link.Get(h, ":method")
		return entry()
	})
	in.Proxy = true
	return &unwired{h1.ResponseEncoder(back.Feed, asked), back}, &wired{h1.RequestEncoder(in.Feed), in, entry}
}

// wireUpstream puts the wire between the emulator and the upstream, whose response goes to entry.
func wireUpstream(upstream func(back link.Sender, h []link.Field) link.End, entry link.Sender) link.End {
	method := ""
	asked := func() string { return method }
	in := h1.RequestDecoder(func(h []link.Field) link.End {
		method, _ = link.Get(h, ":method")
		response := h1.ResponseDecoder(entry, asked)
		response.Proxy = true
		return upstream(&wired{h1.ResponseEncoder(response.Feed, asked), response, func() link.Sender { return entry }}, h)
	})
	in.Broken = entry.Reset
	return &unwired{h1.RequestEncoder(in.Feed), in}
}
