// Package snapshot is what the translator makes and the agent runs: one consistent state of a data
// plane as a unit, xDS resources together with the security policies that they refer to.
package snapshot

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// Type is an xDS resource type, named as `gatehouse translate --type` does.
type Type string

// The types, and their protobuf names below type.googleapis.com.
const (
	Secret    Type = "secret"
	Cluster   Type = "cluster"
	Endpoint  Type = "endpoint"
	Extension Type = "extension"
	Route     Type = "route"
	Listener  Type = "listener"
)

// Types lists all types in the order in which they are published: what is referred to comes before
// what refers to it.
func Types() []Type { return []Type{Secret, Cluster, Endpoint, Extension, Route, Listener} }

var urls = map[Type]string{
	Secret:    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
	Cluster:   "type.googleapis.com/envoy.config.cluster.v3.Cluster",
	Endpoint:  "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
	Extension: "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
	Route:     "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
	Listener:  "type.googleapis.com/envoy.config.listener.v3.Listener",
}

// URL returns the type URL.
func (t Type) URL() string { return urls[t] }

// TypeOf returns the Type of a type URL, and false for one that Gatehouse doesn't serve.
func TypeOf(url string) (Type, bool) {
	for t, u := range urls {
		if u == url {
			return t, true
		}
	}
	return "", false
}

// Resource is one serialized xDS resource. Equal Versions mean equal Bodies. Immutable.
type Resource struct {
	Name    string
	Version string
	Body    []byte
	// EDS is set on a Cluster whose endpoints come as a ClusterLoadAssignment of that name.
	EDS string
	// Address is host:port of a Listener's TCP socket.
	Address string
}

// NewResource computes the Version from the body.
func NewResource(name string, body []byte) Resource {
	sum := sha256.Sum256(body)
	return Resource{Name: name, Version: hex.EncodeToString(sum[:8]), Body: body}
}

// Policy is a security policy under the reference that routes use.
type Policy struct {
	Ref string
	// Seal is what the authorizer emits with an OK and the route's last filter demands: proof that the
	// verdict was given for this policy.
	Seal string
	Spec *config.Policy
	// Data holds the contents of what Spec refers to. Policies may share it.
	Data config.Data
}

// Snapshot is one state of a data plane. Slices are sorted by Name or Ref; all of it is immutable.
// Nothing in it refers to a resource or policy that isn't in it.
type Snapshot struct {
	Resources map[Type][]Resource
	Policies  []Policy
}
