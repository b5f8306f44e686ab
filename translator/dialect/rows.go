package dialect

import (
	"slices"
	"sync"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// table holds all rows by kind. Rows derived from types come first: they make lists where lists belong,
// which the paths of the other rows rely on.
var table = sync.OnceValue(func() map[string][]Row {
	byKind := map[string][]Row{}
	for _, row := range derived() {
		byKind[row.Kind] = append(byKind[row.Kind], row)
	}
	for _, row := range written() {
		byKind[row.Kind] = append(byKind[row.Kind], row)
	}
	return byKind
})

func written() []Row {
	return slices.Concat([]Row{
		list("SecurityPolicy", "spec.opa", "modules"),
		list("SecurityPolicy", "spec.opa", "bundles"),
		duration("SecurityPolicy", "spec.jwt.providers[]", "clockSkew"),
		duration("SecurityPolicy", "spec.jwt.providers[].remoteJWKS", "maxStale"),
		duration("SecurityPolicy", "spec.opa", "timeout"),
		duration("SecurityPolicy", "spec.opa.bundles[]", "pollInterval"),
		move("SecurityPolicy", "spec.extAuth", "grpc.headersToBackend", "headersToBackend"),

		move("BackendTrafficPolicy", "spec.circuitBreaker", "maxRequests", "maxParallelRequests"),
		move("BackendTrafficPolicy", "spec.circuitBreaker", "maxRetries", "maxParallelRetries"),
		move("BackendTrafficPolicy", "spec", "connectionPool.maxConnections", "circuitBreaker.maxConnections"),
		move("BackendTrafficPolicy", "spec", "connectionPool.maxPendingRequests", "circuitBreaker.maxPendingRequests"),
		move("BackendTrafficPolicy", "spec", "connectionPool.maxRequestsPerConnection", "circuitBreaker.maxRequestsPerConnection"),
		duration("BackendTrafficPolicy", "spec.connectionPool", "idleTimeout"),
		move("BackendTrafficPolicy", "spec", "connectionPool.idleTimeout", "timeout.http.connectionIdleTimeout"),
		duration("BackendTrafficPolicy", "spec.timeout", "request"),
		move("BackendTrafficPolicy", "spec", "timeout.request", "timeout.http.requestTimeout"),
		duration("BackendTrafficPolicy", "spec.retry", "perRetryTimeout"),
		move("BackendTrafficPolicy", "spec.retry", "perRetryTimeout", "perRetry.timeout"),
		move("BackendTrafficPolicy", "spec.healthCheck.passive", "consecutive5xxErrors", "consecutive5XxErrors"),

		invert("ClientTrafficPolicy", "spec.path", "mergeSlashes", "disableMergeSlashes"),

		move("EnvoyProxy", "spec.telemetry.tracing.provider", "openTelemetry.host", "host"),
		move("EnvoyProxy", "spec.telemetry.tracing.provider", "openTelemetry.port", "port"),

		value("BackendTLSPolicy", "", "apiVersion", "gateway.networking.k8s.io/v1alpha2", gatewayv1.GroupVersion.String()),
		wrap("BackendTLSPolicy", "spec", "targetRef", "targetRefs"),
		list("BackendTLSPolicy", "spec.tls", "certificateAuthorityRefs"),
		move("BackendTLSPolicy", "spec", "tls.certificateAuthorityRefs", "validation.caCertificateRefs"),
		move("BackendTLSPolicy", "spec", "tls.hostname", "validation.hostname"),
	}, processing())
}
