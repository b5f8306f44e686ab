package translator

import (
	"cmp"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// listenerName names a listener of a Gateway, on whatever addresses.
type listenerName struct {
	gateway resource.Key
	name    string
}

// attach counts a route, or with -1 no longer, at each of its listeners, whether or not they serve (Gateway API,
// ListenerStatus.attachedRoutes).
func (a *assembly) attach(u *unit, count int) {
	if len(u.placements) == 1 { // nearly always
		l := u.placements[0].listener
		a.attached[listenerName{l.Key(), l.Name}] += count
		return
	}
	seen := make(map[listenerName]bool, len(u.placements))
	for _, p := range u.placements {
		name := listenerName{p.listener.Key(), p.listener.Name}
		if !seen[name] {
			seen[name] = true
			a.attached[name] += count
		}
	}
}

// listenerFacts tells of every listener once, with all its sockets.
func (a *assembly) listenerFacts() []status.Listener {
	var all []status.Listener
	at := map[listenerName]int{}
	for _, l := range a.listeners {
		name := listenerName{l.Key(), l.Name}
		i, known := at[name]
		if !known {
			i = len(all)
			at[name] = i
			all = append(all, status.Listener{Gateway: name.gateway, Name: l.Name, AttachedRoutes: a.attached[name]})
		}
		if a.serving[l] {
			all[i].Sockets = append(all[i].Sockets, l.Socket())
			all[i].RouteConfigs = append(all[i].RouteConfigs, l.RouteConfig())
		}
	}
	for i := range all {
		slices.Sort(all[i].Sockets)
		slices.Sort(all[i].RouteConfigs)
		all[i].RouteConfigs = slices.Compact(all[i].RouteConfigs)
	}
	slices.SortFunc(all, func(x, y status.Listener) int {
		return cmp.Or(cmp.Compare(x.Gateway.Namespace, y.Gateway.Namespace), cmp.Compare(x.Gateway.Name, y.Gateway.Name),
			cmp.Compare(x.Name, y.Name))
	})
	return all
}
