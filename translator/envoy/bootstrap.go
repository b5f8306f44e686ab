package envoy

import (
	"time"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connections "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// BootstrapOptions says where Envoy finds its control plane and its authorizer: paths of Unix sockets.
type BootstrapOptions struct {
	NodeID           string
	XDSSocket        string // "": no control plane, everything is static
	AuthorizerSocket string
	AdminSocket      string // created with mode 0600; "": no admin
}

// NewBootstrap builds the configuration that Envoy starts with.
func NewBootstrap(o BootstrapOptions) *bootstrap.Bootstrap {
	out := &bootstrap.Bootstrap{
		Node: &core.Node{Id: o.NodeID, Cluster: product},
		StaticResources: &bootstrap.Bootstrap_StaticResources{
			Clusters: []*cluster.Cluster{socketCluster(ClusterAuthorizer, o.AuthorizerSocket)},
		},
		LayeredRuntime:  runtime(),
		OverloadManager: overload(),
	}
	if o.AdminSocket != "" {
		out.Admin = &bootstrap.Admin{Address: pipe(o.AdminSocket)}
		out.Admin.Address.GetPipe().Mode = 0o600
	}
	if o.XDSSocket != "" {
		out.StaticResources.Clusters = append(out.StaticResources.Clusters, socketCluster(ClusterXDS, o.XDSSocket))
		out.DynamicResources = &bootstrap.Bootstrap_DynamicResources{
			AdsConfig: deltaADS(), CdsConfig: ads(), LdsConfig: ads(),
		}
	}
	return out
}

// socketCluster is a plain STATIC cluster: with health checks or outlier detection Envoy would go on
// refusing for a while after the server is back.
func socketCluster(name, path string) *cluster.Cluster {
	return &cluster.Cluster{
		Name: name, ConnectTimeout: duration(time.Second), CircuitBreakers: ownLimits(),
		ClusterDiscoveryType:          &cluster.Cluster_Type{Type: cluster.Cluster_STATIC},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpProtocolOption: http2Options()},
		LoadAssignment:                loadAssignment(name, []gatewayapi.Endpoint{{Path: path}}),
	}
}

// maxChecks is how many requests may be with the authorizer at a time. Envoy's own 1,024 would answer 503 to the
// next one, and a policy that waits for a slow password hash or bundle reaches that soon.
const maxChecks = 100_000

func ownLimits() *cluster.CircuitBreakers {
	limits := func(p core.RoutingPriority) *cluster.CircuitBreakers_Thresholds {
		return &cluster.CircuitBreakers_Thresholds{
			Priority: p, MaxConnections: number(maxChecks), MaxPendingRequests: number(maxChecks), MaxRequests: number(maxChecks),
		}
	}
	return &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{limits(core.RoutingPriority_DEFAULT), limits(core.RoutingPriority_HIGH)}}
}

func deltaADS() *core.ApiConfigSource {
	service := &core.GrpcService{TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{
		ClusterName: ClusterXDS,
		// By default Envoy may wait 18 s before it comes back after an outage.
		RetryPolicy: &core.RetryPolicy{RetryBackOff: &core.BackoffStrategy{
			BaseInterval: duration(50 * time.Millisecond), MaxInterval: duration(500 * time.Millisecond),
		}},
	}}}
	return &core.ApiConfigSource{
		ApiType: core.ApiConfigSource_DELTA_GRPC, TransportApiVersion: core.ApiVersion_V3,
		GrpcServices: []*core.GrpcService{service}, SetNodeOnFirstMessageOnly: true,
	}
}

// runtime lifts the limit under which Envoy refuses ordinary regular expressions.
func runtime() *bootstrap.LayeredRuntime {
	return &bootstrap.LayeredRuntime{Layers: []*bootstrap.RuntimeLayer{{
		Name: "gatehouse",
		LayerSpecifier: &bootstrap.RuntimeLayer_StaticLayer{StaticLayer: &structpb.Struct{Fields: map[string]*structpb.Value{
			"re2.max_program_size.error_level": structpb.NewNumberValue(4294967295),
			"re2.max_program_size.warn_level":  structpb.NewNumberValue(1000),
		}}},
	}}}
}

// maxConnections bounds the clients' connections to the whole Envoy, so that a flood of them is refused
// before it eats the memory. A connection costs some 10 KiB.
const maxConnections = 50_000

func overload() *overloadv3.OverloadManager {
	return &overloadv3.OverloadManager{ResourceMonitors: []*overloadv3.ResourceMonitor{{
		Name: "envoy.resource_monitors.global_downstream_max_connections",
		ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: typed(
			&connections.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: maxConnections})},
	}}}
}

// YAML renders the bootstrap for `envoy -c`.
func YAML(b *bootstrap.Bootstrap) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(b)
	if err != nil {
		return nil, err
	}
	return yaml.JSONToYAML(text)
}
