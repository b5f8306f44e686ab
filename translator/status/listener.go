package status

import "github.com/gatehouse-proxy/gatehouse/translator/resource"

// Listener is what a translation knows of a listener beside its conditions. Immutable.
type Listener struct {
	Gateway resource.Key
	Name    string
	// AttachedRoutes is the number of routes that the listener takes, whether or not it serves.
	AttachedRoutes int
	// Sockets are the host:port on which it serves, sorted; none for one with a fault.
	Sockets []string
	// RouteConfigs name the RouteConfigurations that hold its routes, sorted.
	RouteConfigs []string
}
