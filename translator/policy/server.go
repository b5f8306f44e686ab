package policy

import (
	"fmt"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// Server is a user's own gRPC server that Envoy calls.
type Server struct {
	// Name is stable and names the cluster: "securitypolicy/ns/name/extauth".
	Name    string
	Backend *gatewayapi.Backend
	Timeout time.Duration
	// FailOpen lets requests pass when the server can't be reached.
	FailOpen bool
	// StatusOnError is what clients get when it can't be reached and FailOpen is false; 0: Envoy's default.
	StatusOnError int32
}

// ExtAuth is a user's ext_authz server.
type ExtAuth struct {
	Server
	HeadersToExtAuth []string // nil: all
	HeadersToBackend []string // nil: any the server sets
	MaxRequestBytes  uint32   // 0: no body
	RecomputeRoute   bool
}

func (r *resolver) extAuth(owner objectName, spec *egv1alpha1.ExtAuth, own *resource.ExtAuthOwn) *ExtAuth {
	const field = "spec.extAuth"
	if spec.GRPC == nil || spec.HTTP != nil {
		r.fault("%s: only grpc is supported by this version", field)
		return nil
	}
	if len(spec.ContextExtensions) > 0 || deref(spec.IncludeRouteMetadata) {
		r.fault("%s: contextExtensions and includeRouteMetadata are not supported by this version; remove them", field)
	}
	out := &ExtAuth{
		Server: Server{
			Name:          fmt.Sprintf("securitypolicy/%s/%s/extauth", owner.namespace, owner.name),
			Timeout:       r.duration(field+".timeout", spec.Timeout, 10*time.Second),
			FailOpen:      deref(spec.FailOpen),
			StatusOnError: deref(spec.StatusOnError),
		},
		HeadersToExtAuth: spec.HeadersToExtAuth, RecomputeRoute: deref(spec.RecomputeRoute),
	}
	out.Backend = r.server(field+".grpc", "SecurityPolicy", &spec.GRPC.BackendCluster)
	if own != nil {
		out.HeadersToBackend = own.HeadersToBackend
	}
	if spec.BodyToExtAuth != nil {
		out.MaxRequestBytes = spec.BodyToExtAuth.MaxRequestBytes
	}
	return out
}

// server resolves the references of a BackendCluster into one set of endpoints.
func (r *resolver) server(field, kind string, cluster *egv1alpha1.BackendCluster) *gatewayapi.Backend {
	if cluster.BackendSettings != nil {
		r.fault("%s.backendSettings is not supported by this version; remove it", field)
	}
	var refs []gatewayv1.BackendObjectReference
	if cluster.BackendRef != nil {
		refs = append(refs, *cluster.BackendRef)
	}
	for _, ref := range cluster.BackendRefs {
		refs = append(refs, ref.BackendObjectReference)
	}
	all := make([]*gatewayapi.Backend, 0, len(refs))
	for _, ref := range refs {
		backend := gatewayapi.ResolveBackend(r.view, r.referrer(kind), ref)
		if backend.Fault != "" {
			r.fault("%s: %s", field, backend.Fault)
		}
		all = append(all, backend)
	}
	switch len(all) {
	case 0:
		r.fault("%s: backendRefs is missing: name the server's Service or Backend", field)
		return nil
	case 1:
		return all[0]
	}
	return r.together(field, all)
}

// together joins several references: their addresses share one cluster.
func (r *resolver) together(field string, all []*gatewayapi.Backend) *gatewayapi.Backend {
	out := &gatewayapi.Backend{DNS: all[0].DNS}
	for _, b := range all {
		if b.EDS != "" || b.DNS != out.DNS {
			r.fault("%s: several backendRefs must all have fixed addresses or all be names", field)
			return out
		}
		out.Endpoints = append(out.Endpoints, b.Endpoints...)
	}
	return out
}
