package xds

import (
	"cmp"
	"slices"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// difference plans the messages from what was sent to the present world. If all of an older world was
// sent, only what has changed since is looked at; old is nil if it wasn't.
func (st *stream) difference(old *world) []operation {
	var plan []operation
	endpoints := map[string]bool{} // assignments that a changed cluster needs again, changed or not
	for _, kind := range snapshot.Types() {
		state := st.types[kind]
		if kind == snapshot.Route {
			plan = append(plan, operation{gate: true})
		}
		if state == nil {
			continue
		}
		if wildcard(kind) && state.silent && len(st.world.snap.Resources[kind]) == 0 {
			plan = append(plan, operation{kind: kind, empty: true})
		}
		for _, r := range st.candidates(kind, old, endpoints) {
			if !st.due(kind, state, r, endpoints) {
				continue
			}
			plan = append(plan, operation{kind: kind, name: r.Name})
			if kind == snapshot.Cluster && r.EDS != "" {
				endpoints[r.EDS] = true
			}
		}
	}
	return append(plan, st.removals(old)...)
}

// candidates lists, by name, what of a kind may have to be sent.
func (st *stream) candidates(kind snapshot.Type, old *world, endpoints map[string]bool) []snapshot.Resource {
	if old == nil {
		return st.world.snap.Resources[kind]
	}
	var all []snapshot.Resource
	snapshot.ResourceChanges(old.snap.Resources[kind], st.world.snap.Resources[kind], func(was, is *snapshot.Resource) {
		if is != nil && (kind != snapshot.Endpoint || !endpoints[is.Name]) {
			all = append(all, *is)
		}
	})
	if kind == snapshot.Endpoint {
		for name := range endpoints {
			if r, ok := st.world.resource(kind, name); ok {
				all = append(all, r)
			}
		}
		slices.SortFunc(all, func(a, b snapshot.Resource) int { return cmp.Compare(a.Name, b.Name) })
	}
	return all
}

// due reports whether r has to be sent. A changed EDS cluster whose assignment isn't sent again warms
// for 15 s and holds back every later cluster.
func (st *stream) due(kind snapshot.Type, state *typeState, r snapshot.Resource, endpoints map[string]bool) bool {
	if kind == snapshot.Endpoint && endpoints[r.Name] {
		return true
	}
	wanted := wildcard(kind) || state.subscribed[r.Name]
	return wanted && state.sent[r.Name] != r.Version
}

// removals lists what Envoy still has and the world has not, listeners first: they hold on to the rest.
func (st *stream) removals(old *world) []operation {
	var plan []operation
	kinds := snapshot.Types()
	slices.Reverse(kinds)
	for _, kind := range kinds {
		state := st.types[kind]
		if state == nil {
			continue
		}
		for _, name := range st.gone(kind, state, old) {
			if removable(kind) {
				plan = append(plan, operation{kind: kind, name: name, remove: true})
			} else {
				delete(state.sent, name)
			}
		}
	}
	return plan
}

// gone lists, by name, what was sent and isn't in the present world.
func (st *stream) gone(kind snapshot.Type, state *typeState, old *world) []string {
	var names []string
	if old != nil {
		snapshot.ResourceChanges(old.snap.Resources[kind], st.world.snap.Resources[kind], func(was, is *snapshot.Resource) {
			if is != nil {
				return
			}
			if _, sent := state.sent[was.Name]; sent {
				names = append(names, was.Name)
			}
		})
		return names
	}
	for name := range state.sent {
		if _, ok := st.world.resource(kind, name); !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// handle takes a request: a subscription change, an answer to a message, or both.
func (st *stream) handle(request *discovery.DeltaDiscoveryRequest) error {
	kind, ok := snapshot.TypeOf(request.GetTypeUrl())
	if !ok {
		st.server.log.Debug("Envoy asked for a type that isn't served", "type", request.GetTypeUrl())
		return nil
	}
	st.answer(request)
	state, first := st.types[kind], false
	if state == nil {
		first = true
		state = &typeState{subscribed: map[string]bool{}, sent: request.GetInitialResourceVersions()}
		if state.sent == nil {
			state.sent = map[string]string{}
		}
		state.silent = len(state.sent) == 0
		st.types[kind] = state
	}
	for _, name := range request.GetResourceNamesUnsubscribe() {
		delete(state.subscribed, name)
		if !wildcard(kind) {
			delete(state.sent, name)
		}
	}
	for _, name := range request.GetResourceNamesSubscribe() {
		state.subscribed[name] = true
	}
	if st.world == nil {
		return nil
	}
	if first && wildcard(kind) {
		st.settled = nil
		st.replan()
		return nil
	}
	return st.deliver(kind, state, request, first)
}

// deliver sends what a request subscribes to. A resource asked for by name is sent even if the stream
// believes that Envoy has it, save for versions that Envoy has just said it holds.
func (st *stream) deliver(kind snapshot.Type, state *typeState, request *discovery.DeltaDiscoveryRequest, first bool) error {
	for _, name := range request.GetResourceNamesSubscribe() {
		if wildcard(kind) {
			continue
		}
		r, ok := st.world.resource(kind, name)
		if !ok {
			if err := st.sendRemoval(kind, name); err != nil {
				return err
			}
			continue
		}
		if first && state.sent[name] == r.Version {
			continue
		}
		if err := st.send(kind, r); err != nil {
			return err
		}
	}
	return nil
}

// answer records an ACK or a NACK.
func (st *stream) answer(request *discovery.DeltaDiscoveryRequest) {
	id, ok := st.pending[request.GetResponseNonce()]
	if !ok {
		return
	}
	delete(st.pending, request.GetResponseNonce())
	if detail := request.GetErrorDetail(); detail != nil {
		st.server.reject(id, detail.GetMessage())
	}
}
