package resource

import (
	"slices"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
)

func (r *reader) extAuth(at path, auth *egv1alpha1.ExtAuth, own *ExtAuthOwn) {
	switch {
	case auth.GRPC == nil && auth.HTTP == nil:
		r.fault(at, "needs one of grpc and http")
	case auth.GRPC != nil && auth.HTTP != nil:
		r.fault(at, "has grpc and http; keep one of them")
	case auth.GRPC != nil:
		r.backends(at.to("grpc"), &auth.GRPC.BackendCluster)
	default:
		r.httpAuth(at, auth, own)
	}
	for i, extension := range auth.ContextExtensions {
		if extension != nil {
			r.contextExtension(at.to("contextExtensions", i), extension)
		}
	}
	if body := auth.BodyToExtAuth; body != nil && body.MaxRequestBytes < 1 {
		r.fault(at.to("bodyToExtAuth", "maxRequestBytes"), "must be at least 1")
	}
	if s := auth.StatusOnError; s != nil && !slices.Contains(errorStatuses, *s) {
		r.fault(at.to("statusOnError"), "must be a status of an error, 4xx or 5xx")
	}
}

// errorStatuses are those that Envoy knows.
var errorStatuses = []int32{
	400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 423, 424, 426, 428, 429, 431,
	500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511,
}

func (r *reader) httpAuth(at path, auth *egv1alpha1.ExtAuth, own *ExtAuthOwn) {
	const grpcOnly = "is for grpc, an HTTP server can't be told; use headersToExtAuth, or grpc"
	r.backends(at.to("http"), &auth.HTTP.BackendCluster)
	if own != nil && len(own.HeadersToBackend) > 0 {
		r.fault(at.to("headersToBackend"), "is for grpc; move it into extAuth.http")
	}
	if len(auth.ContextExtensions) > 0 {
		r.fault(at.to("contextExtensions"), grpcOnly)
	}
	if auth.IncludeRouteMetadata != nil && *auth.IncludeRouteMetadata {
		r.fault(at.to("includeRouteMetadata"), grpcOnly)
	}
	if auth.HTTP.Path != nil && auth.HTTP.PathOverride != nil {
		r.fault(at.to("http", "pathOverride"), "and path are both set; keep one of them")
	}
	r.authPath(at.to("http", "path"), auth.HTTP.Path)
	r.authPath(at.to("http", "pathOverride"), auth.HTTP.PathOverride)
}

// authPath refuses what would be another path, or none, on the wire.
func (r *reader) authPath(at path, value *string) {
	if value == nil {
		return
	}
	if !strings.HasPrefix(*value, "/") || strings.ContainsAny(*value, "?#\\") ||
		strings.ContainsFunc(*value, func(c rune) bool { return c <= 0x20 || c >= 0x7f }) {
		r.fault(at, "must begin with / and be a path as it stands in a URL, without ? and #")
	}
}

func (r *reader) contextExtension(at path, extension *egv1alpha1.ContextExtension) {
	r.enum(at.to("type"), extension.Type, egv1alpha1.ContextExtensionValueTypeValue, egv1alpha1.ContextExtensionValueTypeValueRef)
	if extension.Name == "" {
		r.fault(at.to("name"), "is missing")
	}
	if strings.HasPrefix(extension.Name, "gatehouse.") {
		r.fault(at.to("name"), "must not begin with gatehouse., which is reserved")
	}
	byRef := extension.Type == egv1alpha1.ContextExtensionValueTypeValueRef
	switch {
	case (extension.Value == nil) == (extension.ValueRef == nil):
		r.fault(at, "needs one of value and valueRef")
	case byRef != (extension.ValueRef != nil):
		r.fault(at.to("type"), "must be ValueRef with valueRef, and Value with value")
	case byRef:
		r.reference(at.to("valueRef"), &extension.ValueRef.LocalObjectReference)
		if extension.ValueRef.Key == "" {
			r.fault(at.to("valueRef", "key"), "is missing")
		}
	}
}
