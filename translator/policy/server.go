package policy

import (
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// Server is a user's own server that Envoy calls.
type Server struct {
	// Name is stable and names the cluster: "securitypolicy/ns/name/extauth".
	Name    string
	Backend *gatewayapi.Backend
	Timeout time.Duration
	// FailOpen lets requests pass when the server can't be reached.
	FailOpen bool
	// StatusOnError is what clients get when it can't be reached and FailOpen is false; 0: Envoy's default.
	StatusOnError int32
	// Settings are how the user wants it to be reached, without a fault ([upstream.Check]); nil: as usual.
	Settings *egv1alpha1.ClusterSettings
}

// server resolves the references of a BackendCluster into one set of endpoints.
func (r *resolver) server(field, kind string, cluster *egv1alpha1.BackendCluster) *gatewayapi.Backend {
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

// settings judges how the user wants a server to be reached.
func (r *resolver) settings(field string, cluster *egv1alpha1.BackendCluster, backend *gatewayapi.Backend, use upstream.Use) *egv1alpha1.ClusterSettings {
	if cluster.BackendSettings == nil || backend == nil || backend.Fault != "" {
		return nil
	}
	use.DNS, use.HTTP2 = backend.DNS, use.HTTP2 || backend.HTTP2
	for _, e := range backend.Endpoints {
		use.Sockets = use.Sockets || e.Path != ""
	}
	faults := upstream.Check(field+".backendSettings", cluster.BackendSettings, use)
	for _, fault := range faults {
		r.fault("%s", fault)
	}
	return cluster.BackendSettings
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
