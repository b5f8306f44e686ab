package envoy

// Names of the HTTP filters in every connection manager. A route switches them on and parameterises
// them under these names.
const (
	filterClientAddress = "gatehouse.client_address"
	filterCORS          = "gatehouse.cors"
	filterLogin         = "gatehouse.oauth2"
	filterAuthorizer    = "gatehouse.ext_authz"
	filterProcessor     = "gatehouse.ext_proc" // the authorizer by its other protocol
	filterCSRF          = "gatehouse.csrf"
	filterAuth          = "gatehouse.auth"       // the route's own chain: the user's ext_authz servers
	filterExtensions    = "gatehouse.extensions" // the route's own chain: ext_proc and the like
	filterSession       = "gatehouse.session"
	filterSeal          = "gatehouse.seal"
	filterRouter        = "envoy.filters.http.router"
)

// product names what belongs to Gatehouse in Envoy's statistics and metadata.
const product = "gatehouse"

// Headers between Envoy and the authorizer. The RouteConfiguration removes both from every request on
// its way to a backend.
const (
	headerClientAddress = "x-gatehouse-client-ip"
	headerRecompute     = "x-gatehouse-recompute"
)

// Extensions of a request, by ext_authz in its context extensions and by ext_proc in its initial metadata:
// set by the route's configuration, so no client can choose them.
const (
	// ExtensionPolicy names the policy of a request: its reference, or in an Envoy of somebody else's its
	// namespace/name.
	ExtensionPolicy = "gatehouse.policy"
	// ExtensionRoute names the route, for logs.
	ExtensionRoute = "gatehouse.route"

	extensionClientAddress = "gatehouse.client-address"
	extensionBody          = "gatehouse.body" // the filter buffers: a body that wasn't sent isn't there
)

// SealKey is the key of the proof of a verdict in a request's dynamic metadata.
const SealKey = "seal"

// guardsKey is where a route's own chain says that the guards of Envoy's before it, and the user's servers
// in it, have let a request pass.
const guardsKey = "guards"

// The namespaces in which proofs stand.
const (
	authorizerNamespace = "envoy.filters.http.ext_authz" // the only one that ext_authz can write
	gatehouseNamespace  = product                        // of the authorizer by ext_proc, and of the users' servers
)

// Clusters of the bootstrap.
const (
	ClusterXDS        = "gatehouse.xds"
	ClusterAuthorizer = "gatehouse.authorizer"
)
