// Package emulate is Envoy's ext_proc filter in Go: what it sends to a processor, when, and what it makes
// of each answer, between a client and an upstream that exchange HTTP/2 frames. It follows Envoy 1.40;
// package sdktest's conformance table holds it against the real one.
package emulate

import (
	"context"
	"maps"
	"time"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// Place is a filter of the chain.
type Place struct {
	Filter *extprocfilterv3.ExternalProcessor
	// Route, Again and VirtualHost are the configurations of the filter of the route, of the one for requests
	// with x-reroute: yes, and of their virtual host; nil is none.
	Route, Again, VirtualHost *extprocfilterv3.ExtProcPerRoute
	// Conn leads to the processor.
	Conn grpc.ClientConnInterface
}

// Config is what an exchange meets on its way.
type Config struct {
	Filter Place
	// BufferLimit is the listener's and the cluster's per_connection_buffer_limit_bytes.
	BufferLimit int
	// Metadata is the dynamic metadata that filters before this one have written, by namespace.
	Metadata map[string]*structpb.Struct
	// TypedMetadata is the typed kind of it, ClusterMetadata that of the upstream's cluster.
	TypedMetadata   map[string]*anypb.Any
	ClusterMetadata map[string]*structpb.Struct
	// Facts are the values of attributes that the exchange itself doesn't show.
	Facts map[string]any
	// Inner is the filter between Filter and the upstream; nil is none.
	Inner *Place
	// Outside is a codec before Filter, Inside one behind it.
	Outside, Inside Codec
	// HTTP1 says that client and upstream speak HTTP/1.1, which shows in details.
	HTTP1 bool
	// Retries is how many times the route tries again.
	Retries int
	// Client takes the response.
	Client link.End
	// Upstream begins a request, or another try of it.
	Upstream func() link.End
}

// Emulator is the filter while it handles one exchange.
type Emulator struct {
	*shared
	place  Place
	filter *extprocfilterv3.ExternalProcessor
	route  *extprocfilterv3.ExtProcPerRoute // as merged

	request, response direction
	stream            *stream
	counters          map[string]uint64

	failOpen   bool
	merged     bool // the route's configuration is in force
	configSent bool // protocol_config
	complete   bool // nothing more is asked of the processor
}

// Start runs the filter, and those beside it, until the exchange is over or ctx is done.
func Start(ctx context.Context, cfg Config) *Emulator {
	ctx, cancel := context.WithCancel(ctx)
	s := &shared{cfg: cfg, router: router{left: cfg.Retries, keeps: cfg.Retries > 0}, ctx: ctx, cancel: cancel, done: make(chan struct{})}
	s.metadata, s.typedMetadata = map[string]*structpb.Struct{}, map[string]*anypb.Any{}
	maps.Copy(s.metadata, cfg.Metadata)
	maps.Copy(s.typedMetadata, cfg.TypedMetadata)
	s.inbox.init()
	s.up.window.init(cfg.BufferLimit)
	s.down.window.init(cfg.BufferLimit)
	s.addCodec(cfg.Outside)
	e := s.add(cfg.Filter)
	s.addCodec(cfg.Inside)
	if cfg.Inner != nil {
		s.add(*cfg.Inner)
	}
	go s.run()
	return e
}

// add puts a filter behind those that there are.
func (s *shared) add(p Place) *Emulator {
	f := p.Filter
	e := &Emulator{shared: s, place: p, filter: f, counters: map[string]uint64{}, failOpen: f.GetFailureModeAllow()}
	e.request.begin(e, true)
	e.response.begin(e, false)
	e.setMode(f.GetProcessingMode())
	s.filters, s.hops = append(s.filters, e), append(s.hops, e)
	return e
}

// Stop ends the exchange whatever its state, and waits until its streams have ended too.
func (s *shared) Stop() {
	s.inbox.put(s.inbox.close) // after what is there already
	<-s.done
}

// Report is what is known of the filter after Stop.
type Report struct {
	// Counters are the filter's statistics, by Envoy's names, without those that are 0.
	Counters map[string]uint64
	// Inner are those of the inner filter.
	Inner map[string]uint64
	// Metadata is the exchange's dynamic metadata, by namespace.
	Metadata map[string]*structpb.Struct
	// Details is %RESPONSE_CODE_DETAILS%.
	Details string
	// Rerouted says that the route was chosen again, for a request that then had x-reroute: yes.
	Rerouted bool
}

// Report may be called after Stop.
func (e *Emulator) Report() Report {
	out := Report{Counters: e.counters, Metadata: e.metadata, Details: e.details, Rerouted: e.rerouted}
	if len(e.filters) > 1 {
		out.Inner = e.filters[1].counters
	}
	return out
}

func (s *shared) run() {
	defer close(s.done)
	defer s.cancel()
	for {
		event, ok := s.inbox.take()
		if !ok {
			s.destroy()
			s.rpc.wait()
			return
		}
		event()
		s.catchUp(&s.up)
		s.catchUp(&s.down)
	}
}

func (e *Emulator) count(name string) { e.counters[name]++ }

// setMode puts a processing mode in force.
func (e *Emulator) setMode(m *extprocfilterv3.ProcessingMode) {
	const skip, send = extprocfilterv3.ProcessingMode_SKIP, extprocfilterv3.ProcessingMode_SEND
	d := &e.request
	d.sendHeaders, d.sendTrailers, d.mode = m.GetRequestHeaderMode() != skip, m.GetRequestTrailerMode() == send, m.GetRequestBodyMode()
	d = &e.response
	d.sendHeaders, d.sendTrailers, d.mode = m.GetResponseHeaderMode() != skip, m.GetResponseTrailerMode() == send, m.GetResponseBodyMode()
}

// merge puts the route's configuration in force, once: the first of a request's and a response's headers
// does it.
func (e *Emulator) merge() {
	if e.merged {
		return
	}
	e.merged = true
	e.route = e.place.override(e.again())
	if e.route.GetDisabled() {
		e.setMode(&extprocfilterv3.ProcessingMode{
			RequestHeaderMode:  extprocfilterv3.ProcessingMode_SKIP,
			ResponseHeaderMode: extprocfilterv3.ProcessingMode_SKIP,
		})
		return
	}
	overrides := e.route.GetOverrides()
	if m := overrides.GetProcessingMode(); m != nil {
		e.setMode(m)
	}
	if allow := overrides.GetFailureModeAllow(); allow != nil {
		e.failOpen = allow.GetValue()
	}
}

// mayFailOpen: once a full-duplex body has begun, what was sent of it is gone.
func (e *Emulator) mayFailOpen() bool {
	if e.request.duplex() && e.request.bodyReceived || e.response.duplex() && e.response.bodyReceived {
		return false
	}
	return e.failOpen
}

// skipsResponse reports whether the processor sees nothing of the response.
func (e *Emulator) skipsResponse() bool {
	d := &e.response
	return !d.sendHeaders && !d.sendTrailers && d.mode == extprocfilterv3.ProcessingMode_NONE
}

func (e *Emulator) messageTimeout() time.Duration {
	if t := e.filter.GetMessageTimeout(); t != nil {
		return t.AsDuration()
	}
	return 200 * time.Millisecond
}

// Downstream is where the client sends its request.
func (e *Emulator) Downstream() link.Sender { return &entry{e.shared, true, 0} }

// Upstream is where the upstream sends its response to the present try; for the End that Config.Upstream gave.
func (e *Emulator) Upstream() link.Sender { return &entry{e.shared, false, e.try} }

// Handled returns how many answers of the processors have been taken in so far.
func (e *Emulator) Handled() uint64 {
	n := make(chan uint64, 1)
	if !e.inbox.put(func() {
		count := uint64(0)
		for _, one := range e.filters {
			count += one.counters["stream_msgs_received"]
		}
		n <- count
	}) {
		return 0
	}
	select {
	case count := <-n:
		return count
	case <-e.done:
		return 0
	}
}

// request and response types that the files of this package share.
type (
	processingRequest  = extprocv3.ProcessingRequest
	processingResponse = extprocv3.ProcessingResponse
)
