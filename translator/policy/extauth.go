package policy

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// ExtAuth is a user's own authorization server: a SecurityPolicy's, or one that an HTTPRoute's filter
// names.
type ExtAuth struct {
	Server
	// HTTP is nil for a server that speaks Envoy's gRPC protocol.
	HTTP             *HTTPAuth
	HeadersToExtAuth []string // nil: all to a gRPC server, the few that are always sent to an HTTP one
	// HeadersToBackend are those of the server's answer that the request gets. nil: all that a gRPC server
	// sets, none of an HTTP server's.
	HeadersToBackend []string
	MaxRequestBytes  uint32 // 0: no body
	RecomputeRoute   bool
	// RouteMetadata tells a gRPC server which route it is asked about.
	RouteMetadata bool
	// ContextExtensions are told to a gRPC server.
	ContextExtensions map[string]string
}

// HTTPAuth is how an HTTP server is asked.
type HTTPAuth struct {
	Path         string // put before the request's own path; "": nothing
	PathOverride string // in place of the request's own path; "": not
	// AllHeadersToBackend copies every header of the answer that isn't about the answer itself.
	AllHeadersToBackend bool
}

// DefaultAuthTimeout is how long Envoy waits for a user's authorization server.
const DefaultAuthTimeout = 10 * time.Second

// receivable is the body for which a question surely fits into what a gRPC server receives unless it says otherwise: 4 MiB
// in grpc-go, grpc-java and gRPC's C core.
const receivable = 4<<20 - 128<<10

func (r *resolver) extAuth(owner objectName, spec *egv1alpha1.ExtAuth, own *resource.ExtAuthOwn) *ExtAuth {
	const field = "spec.extAuth"
	out := &ExtAuth{
		Server: Server{
			Name:          fmt.Sprintf("securitypolicy/%s/%s/extauth", owner.namespace, owner.name),
			Timeout:       r.duration(field+".timeout", spec.Timeout, DefaultAuthTimeout),
			FailOpen:      deref(spec.FailOpen),
			StatusOnError: deref(spec.StatusOnError),
		},
		HeadersToExtAuth: spec.HeadersToExtAuth, RecomputeRoute: deref(spec.RecomputeRoute),
		RouteMetadata: deref(spec.IncludeRouteMetadata), ContextExtensions: r.contextExtensions(field+".contextExtensions", spec.ContextExtensions),
	}
	if out.Timeout == 0 {
		r.fault("%s.timeout: 0 would wait for ever; write how long a request may wait, such as 2s", field)
	}
	if spec.BodyToExtAuth != nil {
		out.MaxRequestBytes = spec.BodyToExtAuth.MaxRequestBytes
	}
	switch {
	case spec.HTTP != nil:
		out.Backend = r.server(field+".http", "SecurityPolicy", &spec.HTTP.BackendCluster)
		out.Settings = r.settings(field+".http", &spec.HTTP.BackendCluster, out.Backend, upstream.Use{RequestTimeout: field + ".timeout"})
		out.HeadersToBackend = spec.HTTP.HeadersToBackend
		out.HTTP = &HTTPAuth{Path: AuthPath(deref(spec.HTTP.Path)), PathOverride: deref(spec.HTTP.PathOverride)}
	case spec.GRPC != nil:
		out.Backend = r.server(field+".grpc", "SecurityPolicy", &spec.GRPC.BackendCluster)
		out.Settings = r.settings(field+".grpc", &spec.GRPC.BackendCluster, out.Backend, upstream.Use{HTTP2: true, RequestTimeout: field + ".timeout"})
		if own != nil {
			out.HeadersToBackend = own.HeadersToBackend
		}
		if out.FailOpen && out.MaxRequestBytes > receivable {
			r.warn(opens, "%s.bodyToExtAuth.maxRequestBytes: with failOpen a body that is more than the server receives lets its request pass, and gRPC servers receive 4 MiB by default; write at most %d, or see to it that the server's limit is higher", field, receivable)
		}
	default:
		r.fault("%s: set one of grpc and http", field)
	}
	return out
}

// AuthPath makes a path that another one, which begins with a slash, can follow.
func AuthPath(path string) string {
	path = strings.TrimRight(path, "/")
	if path != "" && !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path
}

func (r *resolver) contextExtensions(field string, all []*egv1alpha1.ContextExtension) map[string]string {
	out := map[string]string{}
	for i, extension := range all {
		if extension == nil {
			continue
		}
		if _, twice := out[extension.Name]; twice || extension.Name == "" {
			r.fault("%s[%d].name: %q is missing or there twice", field, i, extension.Name)
		}
		value := deref(extension.Value)
		if ref := extension.ValueRef; ref != nil {
			value = r.text(fmt.Sprintf("%s[%d].valueRef", field, i), ref)
		}
		if !utf8.ValidString(value) || !utf8.ValidString(extension.Name) {
			r.fault("%s[%d]: isn't UTF-8 text", field, i)
		}
		out[extension.Name] = value
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// text reads a key of a ConfigMap or Secret of the policy's namespace.
func (r *resolver) text(field string, ref *egv1alpha1.LocalObjectKeyReference) string {
	_, texts := r.local(field, ref.LocalObjectReference)
	value, found := texts[ref.Key]
	if texts != nil && !found {
		r.fault("%s: %s %s/%s has no key %q", field, ref.Kind, r.namespace, ref.Name, ref.Key)
	}
	return string(value)
}
