package envoy

import (
	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	httptype "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// processor is the authorizer asked by ext_proc: the same verdicts, but a body is only held where the
// policy reads it, and it is never cut.
func processor() *extproc.ExternalProcessor {
	// The stream lives as long as the request; the message's timeout bounds the verdict.
	service := authorizerService()
	service.Timeout = nil
	return &extproc.ExternalProcessor{
		GrpcService: service,
		ProcessingMode: &extproc.ProcessingMode{
			RequestHeaderMode: extproc.ProcessingMode_SEND, ResponseHeaderMode: extproc.ProcessingMode_SEND,
			RequestTrailerMode: extproc.ProcessingMode_SKIP, ResponseTrailerMode: extproc.ProcessingMode_SKIP,
		},
		// The authorizer asks for the body where it needs it, and for no response where it doesn't.
		AllowModeOverride: true,
		MessageTimeout:    duration(checkTimeout), MaxMessageTimeout: duration(checkTimeout),
		StatusOnError: &httptype.HttpStatus{Code: httptype.StatusCode_ServiceUnavailable},
		RequestAttributes: []string{
			"source.address", "destination.address", "connection.requested_server_name", "request.protocol", "request.time",
			"connection.uri_san_peer_certificate", "connection.dns_san_peer_certificate", "connection.subject_peer_certificate",
		},
		// What ext_authz lets an authorizer set, and Envoy would otherwise ignore without a word.
		MutationRules:   &mutation.HeaderMutationRules{AllowAllRouting: boolean(true), AllowEnvoy: boolean(true)},
		MetadataOptions: &extproc.MetadataOptions{ReceivingNamespaces: namespaces([]string{gatehouseNamespace})},
		StatPrefix:      product,
	}
}

// processorDescription tells the authorizer's engine how processor is configured.
const processorDescription = "v=1; override; mutate-all; timeout=2s; max-timeout=2s; untyped=" + gatehouseNamespace

// process selects the policy by the initial metadata of the route's streams, which no client reaches.
func process(rule *Rule) *extproc.ExtProcPerRoute {
	return named(&core.HeaderValue{Key: ExtensionPolicy, Value: rule.Security.Ref}, &core.HeaderValue{Key: ExtensionRoute, Value: rule.Name})
}

func named(metadata ...*core.HeaderValue) *extproc.ExtProcPerRoute {
	return &extproc.ExtProcPerRoute{Override: &extproc.ExtProcPerRoute_Overrides{Overrides: &extproc.ExtProcOverrides{
		GrpcInitialMetadata: append(metadata,
			&core.HeaderValue{Key: extensionClientAddress, Value: "header"},
			&core.HeaderValue{Key: headerSelfDescription, Value: processorDescription}),
	}}}
}
