package xds

import (
	"strconv"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// warmLimit bounds the wait for clusters before routes that may name them are sent.
const warmLimit = 5 * time.Second

// stream is one Envoy's connection. All fields but those marked belong to the goroutine of run.
//
//	         ┌────────── request: subscribe → send what was asked for
//	idle ────┤
//	         └────────── newer snapshot → plan: adds in order ─ gate ─ routes, listeners ─ removals
//
// A newer snapshot in the middle of a plan makes a new plan from what was sent so far. That is safe at
// every point: what was sent refers only to what was sent before it, and removals come last.
type stream struct {
	server *Server
	rpc    discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	wakeup chan struct{}

	types   map[snapshot.Type]*typeState
	world   *world
	settled *world // the world of which all was sent; nil in the middle of a plan
	plan    []operation
	gate    *time.Timer // running while the plan waits for clusters
	pending map[string]resourceID
	nonce   uint64

	synced *world // guarded by server.mu
}

// typeState is what a stream knows of one resource type.
type typeState struct {
	subscribed map[string]bool
	sent       map[string]string // name → version
	silent     bool              // Envoy has nothing of the type and has heard nothing yet
}

// operation is one message of a plan.
type operation struct {
	kind   snapshot.Type
	name   string
	remove bool
	empty  bool // a message without resources: a starting Envoy waits 15 s to hear that there are none
	gate   bool // no message: wait until the clusters sent so far are warm
}

func newStream(s *Server, rpc discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) *stream {
	return &stream{
		server: s, rpc: rpc, wakeup: make(chan struct{}, 1),
		types: map[snapshot.Type]*typeState{}, pending: map[string]resourceID{},
	}
}

func (st *stream) wake() {
	select {
	case st.wakeup <- struct{}{}:
	default:
	}
}

func (st *stream) run() error {
	requests, failed := st.receive()
	st.refresh()
	for {
		if err := st.step(requests, failed); err != nil {
			return err
		}
	}
}

// receive reads requests in a goroutine of its own, which ends with the RPC.
func (st *stream) receive() (<-chan *discovery.DeltaDiscoveryRequest, <-chan error) {
	requests := make(chan *discovery.DeltaDiscoveryRequest)
	failed := make(chan error, 1)
	go func() {
		for {
			request, err := st.rpc.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case requests <- request:
			case <-st.rpc.Context().Done():
				return
			}
		}
	}()
	return requests, failed
}

// step handles one event, or sends one message when there is no event and something to send. Requests
// come first: a subscription must be answered before the plan goes on.
func (st *stream) step(requests <-chan *discovery.DeltaDiscoveryRequest, failed <-chan error) error {
	idle := make(chan struct{})
	if len(st.plan) > 0 && !st.waiting() {
		close(idle)
	} else {
		st.reportSync()
	}
	var expired <-chan time.Time
	if st.gate != nil {
		expired = st.gate.C
	}
	select {
	case request := <-requests:
		return st.handle(request)
	case <-st.wakeup:
		st.refresh()
		return nil
	case err := <-failed:
		return err
	case <-st.rpc.Context().Done():
		return st.rpc.Context().Err()
	case <-expired:
		st.server.log.Warn("clusters are slow to warm; sending routes without waiting longer")
		st.openGate()
		return nil
	case <-idle:
	}
	select { // an event that arrived meanwhile goes first
	case request := <-requests:
		return st.handle(request)
	default:
	}
	return st.advance()
}

// waiting reports whether the plan's next step is a gate that is still shut, and starts its clock.
func (st *stream) waiting() bool {
	if !st.plan[0].gate {
		return false
	}
	for _, id := range st.pending {
		if id.kind == snapshot.Cluster || id.kind == snapshot.Secret {
			if st.gate == nil {
				st.gate = time.NewTimer(warmLimit)
			}
			return true
		}
	}
	return false
}

// openGate lets the plan go on behind the gate that it stands at.
func (st *stream) openGate() {
	st.closeGate()
	st.plan = st.plan[1:]
	st.settle()
}

// closeGate forgets the clock of a gate.
func (st *stream) closeGate() {
	if st.gate != nil {
		st.gate.Stop()
		st.gate = nil
	}
}

// advance does the plan's next operation.
func (st *stream) advance() error {
	op := st.plan[0]
	if op.gate {
		st.openGate()
		return nil
	}
	st.plan = st.plan[1:]
	defer st.settle()
	switch {
	case op.remove:
		return st.sendRemoval(op.kind, op.name)
	case op.empty:
		return st.message(op.kind, resourceID{kind: op.kind}, &discovery.DeltaDiscoveryResponse{})
	}
	resource, ok := st.world.resource(op.kind, op.name)
	if !ok {
		return nil
	}
	return st.send(op.kind, resource)
}

func (st *stream) refresh() {
	latest := st.server.latest()
	if latest == nil || latest == st.world {
		return
	}
	st.world = latest
	st.replan()
}

// replan plans anew from what was sent so far.
func (st *stream) replan() {
	st.closeGate()
	st.plan, st.settled = st.difference(st.settled), nil
	st.settle()
}

// settle notes that a plan is done.
func (st *stream) settle() {
	if len(st.plan) == 0 {
		st.settled = st.world
	}
}

func (st *stream) reportSync() {
	if st.world == nil || len(st.plan) > 0 || len(st.pending) > 0 || !st.complete() {
		return
	}
	st.server.mu.Lock()
	defer st.server.mu.Unlock()
	if st.synced != st.world {
		st.synced = st.world
		st.server.notify()
	}
}

// complete reports whether Envoy has asked for clusters and listeners. What it has asked for by name was
// sent when it asked, or is part of the plan.
func (st *stream) complete() bool {
	for _, t := range snapshot.Types() {
		if wildcard(t) && st.types[t] == nil {
			return false
		}
	}
	return true
}

func (st *stream) send(kind snapshot.Type, r snapshot.Resource) error {
	id := resourceID{kind, r.Name, r.Version}
	state := st.types[kind]
	state.sent[r.Name] = r.Version
	if st.server.isRejected(id) {
		return nil
	}
	return st.message(kind, id, &discovery.DeltaDiscoveryResponse{
		Resources: []*discovery.Resource{{
			Name: r.Name, Version: r.Version,
			Resource: &anypb.Any{TypeUrl: kind.URL(), Value: r.Body},
		}},
	})
}

func (st *stream) sendRemoval(kind snapshot.Type, name string) error {
	delete(st.types[kind].sent, name)
	return st.message(kind, resourceID{kind: kind, name: name},
		&discovery.DeltaDiscoveryResponse{RemovedResources: []string{name}})
}

func (st *stream) message(kind snapshot.Type, id resourceID, response *discovery.DeltaDiscoveryResponse) error {
	st.types[kind].silent = false
	st.nonce++
	nonce := strconv.FormatUint(st.nonce, 10)
	response.Nonce = nonce
	response.TypeUrl = kind.URL()
	response.SystemVersionInfo = id.version
	st.pending[nonce] = id
	return st.rpc.Send(response)
}
