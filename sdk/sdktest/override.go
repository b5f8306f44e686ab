package sdktest

import (
	"maps"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	mappedattributesv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/ext_proc/processing_request_modifiers/mapped_attribute_builder/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Override is a route's or a virtual host's configuration of the filter: ExtProcPerRoute.
type Override struct {
	// Disabled switches the filter off; all else is void then.
	Disabled bool
	// Mode is the processing mode, nil for the filter's.
	Mode *Mode
	// InitialMetadata is sent with each stream, in place of what the filter sends by the same names.
	InitialMetadata map[string]string
	// Service, if not nil, is another grpc_service, which is reachable even if the filter's isn't, and which is
	// sent this initial metadata in place of the filter's.
	Service map[string]string
	// FailureModeAllow is failure_mode_allow, nil for the filter's.
	FailureModeAllow *bool
	// Metadata are the metadata_options, nil for the filter's.
	Metadata *MetadataOptions
	// MappedRequestAttributes is the processing_request_modifier, nil for the filter's.
	MappedRequestAttributes map[string]string
}

// MetadataOptions are the namespaces of dynamic metadata that the processor may write and gets to see, in
// Envoy's two kinds, and of the cluster's metadata that it sees.
type MetadataOptions struct {
	Receive, Forward                    []string
	ReceiveTyped, ForwardTyped          []string
	ForwardCluster, ForwardClusterTyped []string
}

// ClusterNamespace is the namespace of [ClusterMetadata].
const ClusterNamespace = "sdktest.cluster"

// ClusterMetadata is the metadata of the upstream's cluster.
func ClusterMetadata() map[string]*structpb.Struct {
	return map[string]*structpb.Struct{ClusterNamespace: {Fields: map[string]*structpb.Value{"zone": structpb.NewStringValue("a")}}}
}

func (o MetadataOptions) options() *extprocfilterv3.MetadataOptions {
	namespaces := func(untyped, typed []string) *extprocfilterv3.MetadataOptions_MetadataNamespaces {
		return &extprocfilterv3.MetadataOptions_MetadataNamespaces{Untyped: untyped, Typed: typed}
	}
	out := &extprocfilterv3.MetadataOptions{
		ReceivingNamespaces:  namespaces(o.Receive, o.ReceiveTyped),
		ForwardingNamespaces: namespaces(o.Forward, o.ForwardTyped),
	}
	if len(o.ForwardCluster)+len(o.ForwardClusterTyped) > 0 {
		out.ClusterMetadataForwardingNamespaces = namespaces(o.ForwardCluster, o.ForwardClusterTyped)
	}
	return out
}

// proto returns o, whose other service is the cluster "processor" and has those pairs in addition.
func (o *Override) proto(pairs ...*corev3.HeaderValue) *extprocfilterv3.ExtProcPerRoute {
	switch {
	case o == nil:
		return nil
	case o.Disabled:
		return &extprocfilterv3.ExtProcPerRoute{Override: &extprocfilterv3.ExtProcPerRoute_Disabled{Disabled: true}}
	}
	out := &extprocfilterv3.ExtProcOverrides{GrpcInitialMetadata: values(o.InitialMetadata)}
	if o.Mode != nil {
		out.ProcessingMode = o.Mode.proto()
	}
	if o.FailureModeAllow != nil {
		out.FailureModeAllow = wrapperspb.Bool(*o.FailureModeAllow)
	}
	if o.Metadata != nil {
		out.MetadataOptions = o.Metadata.options()
	}
	out.ProcessingRequestModifier = modifier(o.MappedRequestAttributes)
	if o.Service != nil {
		out.GrpcService = grpcService("processor", append(values(o.Service), pairs...))
	}
	return &extprocfilterv3.ExtProcPerRoute{Override: &extprocfilterv3.ExtProcPerRoute_Overrides{Overrides: out}}
}

// modifier has attributes sent by other names; nil if there are none.
func modifier(mapped map[string]string) *corev3.TypedExtensionConfig {
	if mapped == nil {
		return nil
	}
	config, err := anypb.New(&mappedattributesv3.MappedAttributeBuilder{MappedRequestAttributes: mapped})
	if err != nil {
		panic(err) // which a message of strings has no way to be
	}
	return &corev3.TypedExtensionConfig{Name: "attributes", TypedConfig: config}
}

// reachable reports whether o leads to another service.
func (o *Override) reachable() bool { return o != nil && o.Service != nil }

func values(pairs map[string]string) (out []*corev3.HeaderValue) {
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		out = append(out, headerValue(key, pairs[key]))
	}
	return out
}
