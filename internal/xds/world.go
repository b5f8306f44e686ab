package xds

import "github.com/gatehouse-proxy/gatehouse/snapshot"

// world is a snapshot with its resources by name.
type world struct {
	snap   *snapshot.Snapshot
	byName map[snapshot.Type]map[string]snapshot.Resource
}

func newWorld(snap *snapshot.Snapshot) *world {
	w := &world{snap: snap, byName: map[snapshot.Type]map[string]snapshot.Resource{}}
	for _, t := range snapshot.Types() {
		names := make(map[string]snapshot.Resource, len(snap.Resources[t]))
		for _, r := range snap.Resources[t] {
			names[r.Name] = r
		}
		w.byName[t] = names
	}
	return w
}

func (w *world) resource(t snapshot.Type, name string) (snapshot.Resource, bool) {
	r, ok := w.byName[t][name]
	return r, ok
}

// wildcard types are sent whole; of the others Envoy asks for the names it needs.
func wildcard(t snapshot.Type) bool { return t == snapshot.Cluster || t == snapshot.Listener }

// removable types are those whose removal Envoy acts on and needs to hear. It ignores the removal of a
// RouteConfiguration, and lets go of what nothing refers to by unsubscribing.
func removable(t snapshot.Type) bool { return wildcard(t) }
