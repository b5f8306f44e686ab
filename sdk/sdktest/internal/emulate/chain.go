package emulate

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// shared is what the filters of one exchange have in common, as Envoy's filter manager keeps it. All of it
// belongs to one goroutine, which takes events in the order in which they come.
type shared struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	inbox  queue[func()]
	done   chan struct{}

	filters  []*Emulator // of ext_proc, from the client's side to the upstream's
	hops     []hop       // all filters
	up, down passage     // of the request, of the response

	router
	rpc            rpc
	metadata       map[string]*structpb.Struct
	typedMetadata  map[string]*anypb.Any
	details        string
	localReply     bool
	over           bool
	upstreamAsked  bool
	upstreamClosed bool
	sized          bool // the response came with a content-length
	begun          bool // the response has gone to the client
	method         string
	grpcRequest    bool
	upgrade        bool   // the connection is to be another protocol's
	protocol       string // which; none of CONNECT
	routed         bool   // a route was chosen, and not cleared since
	second         bool   // it is the one for requests with x-reroute: yes
	rerouted       bool
}

// passage is one direction of the exchange, as the filter manager sees it: there is one message, and one
// buffer, for all filters. A filter that goes on goes on with what the others have left there, which is how
// two of them lose a body between them.
type passage struct {
	fields   []link.Field // the headers as they now are
	trailers []link.Field
	trailed  bool // the trailers have come in
	whole    bool // the end has come in
	ended    bool // so the manager believes: the end has come in, or was last injected
	buffered bool // there is a buffer, perhaps an empty one
	buffer   []byte
	size     int  // of the body that has come in
	out      bool // the end has gone out
	coding   map[*codec]*coding
	backlog  []func() // what came while it was full
	window   window
}

// hop is a filter in the chain: where it takes in a message of either direction.
type hop interface {
	inlet(request bool) link.End
}

// next is where a direction leads from behind hop h.
func (s *shared) next(h hop, request bool) link.End {
	at := slices.Index(s.hops, h)
	if request {
		at++
	} else {
		at--
	}
	if at < 0 || at == len(s.hops) {
		return &exit{s, request}
	}
	return s.hops[at].inlet(request)
}

// entrance is where a message comes into the chain.
func (s *shared) entrance(request bool) link.End {
	if request {
		return s.hops[0].inlet(true)
	}
	return s.hops[len(s.hops)-1].inlet(false)
}

func (s *shared) passage(request bool) *passage {
	if request {
		return &s.up
	}
	return &s.down
}

// exit is the end of the chain: the upstream, or the client.
type exit struct {
	s       *shared
	request bool
}

func (x *exit) Headers(h []link.Field, end bool) {
	s := x.s
	h = slices.Clone(h)
	if x.request {
		s.upstreamAsked = true
		s.rerouted = s.again()
		s.ask(s.toUpstream(h), end)
	} else {
		s.begun = true
		s.cfg.Client.Headers(s.toClient(h), end)
	}
	x.finish(end)
}

func (x *exit) Data(p []byte, end bool) {
	p = slices.Clone(p)
	if x.request {
		x.s.upstream.Data(p, end)
		x.s.keepForRetry(p)
	} else {
		x.s.cfg.Client.Data(p, end)
	}
	x.finish(end)
}

func (x *exit) Trailers(h []link.Field) {
	h = slices.Clone(h)
	if x.request {
		x.s.upstream.Trailers(h)
		x.s.trailersSent = h
	} else {
		x.s.cfg.Client.Trailers(h)
	}
	x.finish(true)
}

// Reset doesn't pass filters: the exchange ends as a whole.
func (x *exit) Reset() {}

// finish notes that the direction's end went on. The end of a response is the exchange's: with it complete,
// Envoy doesn't wait for the rest of the request.
func (x *exit) finish(end bool) {
	s := x.s
	if !end || s.passage(x.request).out {
		return
	}
	s.passage(x.request).out = true
	if x.request {
		return
	}
	if s.up.out && s.down.whole && !s.localReply {
		s.upstreamClosed = true // both directions have ended well
	}
	s.destroy()
}

// hopFree leaves out of a response what is the connection's. Of a request Envoy leaves it where it is.
func hopFree(h []link.Field) []link.Field {
	for _, name := range []string{"transfer-encoding", "connection", "keep-alive", "proxy-connection"} {
		h = remove(h, name)
	}
	return h
}

// destroy ends the filters' lives: the exchange is over.
func (s *shared) destroy() {
	if s.over {
		return
	}
	s.over = true
	s.up.window.close()
	s.down.window.close()
	for _, e := range s.filters {
		e.complete = true
		e.request.stopTimer()
		e.response.stopTimer()
		e.closeStream()
	}
	if s.upstreamAsked && !s.upstreamClosed {
		s.upstreamClosed = true
		s.upstream.Reset()
	}
}

// abort ends the exchange without completing the response.
func (s *shared) abort() {
	s.cfg.Client.Reset()
	s.destroy()
}

// inlet is where a filter takes in a message. What comes behind the end that it has been told of is dropped.
type inlet struct{ d *direction }

func (e *Emulator) inlet(request bool) link.End {
	if request {
		return inlet{&e.request}
	}
	return inlet{&e.response}
}

func (n inlet) Headers(_ []link.Field, end bool) {
	n.d.told, n.d.bare = end, end
	if n.d.through {
		n.d.passHeaders(end)
		return
	}
	n.d.headersIn(end)
}

func (n inlet) Data(p []byte, end bool) {
	if n.d.told {
		return
	}
	n.d.told = end && !n.d.trailed
	if n.d.through {
		n.d.pass(p, n.d.told)
		return
	}
	n.d.data(p, n.d.told)
}

func (n inlet) Trailers(h []link.Field) {
	n.d.told = true
	if n.d.through {
		n.d.passTrailers()
		return
	}
	n.d.trailersIn(h)
}

func (n inlet) Reset() {}
