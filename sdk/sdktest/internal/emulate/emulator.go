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
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// Config is the filter's place: its configuration, and what surrounds it.
type Config struct {
	Filter *extprocfilterv3.ExternalProcessor
	// Route is the route's configuration of the filter; nil is none.
	Route *extprocfilterv3.ExtProcPerRoute
	// BufferLimit is the listener's and the cluster's per_connection_buffer_limit_bytes.
	BufferLimit int
	// Metadata is the dynamic metadata that filters before this one have written, by namespace.
	Metadata map[string]*structpb.Struct
	// Conn leads to the processor.
	Conn grpc.ClientConnInterface
	// Client takes the response, Upstream the request.
	Client, Upstream link.End
}

// Emulator is the filter while it handles one exchange. All of its state belongs to one goroutine, which
// takes events in the order in which they come.
type Emulator struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	inbox  queue[func()]
	done   chan struct{}

	request, response direction
	stream            *stream
	rpc               rpc
	counters          map[string]uint64
	metadata          map[string]*structpb.Struct
	details           string

	failOpen       bool
	merged         bool // the route's configuration is in force
	configSent     bool // protocol_config
	complete       bool // nothing more is asked of the processor
	localReply     bool
	over           bool
	upstreamAsked  bool
	upstreamClosed bool
	method         string
	grpcRequest    bool
	cleared        bool // the route cache
	rerouted       bool
}

// Start runs the filter until the exchange is over or ctx is done.
func Start(ctx context.Context, cfg Config) *Emulator {
	ctx, cancel := context.WithCancel(ctx)
	e := &Emulator{
		cfg: cfg, ctx: ctx, cancel: cancel, done: make(chan struct{}),
		counters: map[string]uint64{}, metadata: map[string]*structpb.Struct{},
		failOpen: cfg.Filter.GetFailureModeAllow(),
	}
	maps.Copy(e.metadata, cfg.Metadata)
	e.inbox.init()
	e.request.begin(e, true)
	e.response.begin(e, false)
	e.setMode(cfg.Filter.GetProcessingMode())
	go e.run()
	return e
}

// Stop ends the exchange whatever its state, and waits until its stream has ended too.
func (e *Emulator) Stop() {
	e.inbox.put(e.inbox.close) // after what is there already
	<-e.done
}

// Report is what is known of the filter after Stop.
type Report struct {
	// Counters are the filter's statistics, by Envoy's names, without those that are 0.
	Counters map[string]uint64
	// Metadata is the exchange's dynamic metadata, by namespace.
	Metadata map[string]*structpb.Struct
	// Details is %RESPONSE_CODE_DETAILS%.
	Details string
	// Rerouted says that the route was chosen again, for a request that then had x-reroute: yes.
	Rerouted bool
}

// Report may be called after Stop.
func (e *Emulator) Report() Report {
	return Report{Counters: e.counters, Metadata: e.metadata, Details: e.details, Rerouted: e.rerouted}
}

func (e *Emulator) run() {
	defer close(e.done)
	defer e.cancel()
	for {
		event, ok := e.inbox.take()
		if !ok {
			e.destroy()
			e.rpc.wait()
			return
		}
		event()
		e.request.catchUp()
		e.response.catchUp()
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
	if e.cfg.Route.GetDisabled() {
		e.setMode(&extprocfilterv3.ProcessingMode{
			RequestHeaderMode:  extprocfilterv3.ProcessingMode_SKIP,
			ResponseHeaderMode: extprocfilterv3.ProcessingMode_SKIP,
		})
		return
	}
	overrides := e.cfg.Route.GetOverrides()
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
	if t := e.cfg.Filter.GetMessageTimeout(); t != nil {
		return t.AsDuration()
	}
	return 200 * time.Millisecond
}

// destroy ends the filter's life: the exchange is over.
func (e *Emulator) destroy() {
	if e.over {
		return
	}
	e.over, e.complete = true, true
	e.request.stopTimer()
	e.response.stopTimer()
	e.closeStream()
	if e.upstreamAsked && !e.upstreamClosed {
		e.upstreamClosed = true
		e.cfg.Upstream.Reset()
	}
}

// Downstream is where the client sends its request.
func (e *Emulator) Downstream() link.Sender { return &entry{e: e, d: &e.request} }

// Upstream is where the upstream sends its response.
func (e *Emulator) Upstream() link.Sender { return &entry{e: e, d: &e.response} }

// Handled returns how many answers of the processor have been taken in so far.
func (e *Emulator) Handled() uint64 {
	n := make(chan uint64, 1)
	if !e.inbox.put(func() { n <- e.counters["stream_msgs_received"] }) {
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
