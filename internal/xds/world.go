package xds

import (
	"cmp"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// world is a snapshot of which resources are looked up by name.
type world struct{ snap *snapshot.Snapshot }

func (w *world) resource(t snapshot.Type, name string) (snapshot.Resource, bool) {
	all := w.snap.Resources[t]
	at, ok := slices.BinarySearchFunc(all, name, func(r snapshot.Resource, name string) int { return cmp.Compare(r.Name, name) })
	if !ok {
		return snapshot.Resource{}, false
	}
	return all[at], true
}

// wildcard types are sent whole; of the others Envoy asks for the names it needs.
func wildcard(t snapshot.Type) bool { return t == snapshot.Cluster || t == snapshot.Listener }

// removable types are those whose removal Envoy acts on and needs to hear. It ignores the removal of a
// RouteConfiguration, and lets go of what nothing refers to by unsubscribing.
func removable(t snapshot.Type) bool { return wildcard(t) }
