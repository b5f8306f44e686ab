package envoy

import (
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	dnscommon "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dns "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	upstream "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

const (
	connectTimeout     = 10 * time.Second
	httpProtocolOption = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

// Cluster builds the cluster of a backend and, if its endpoints come by EDS, their assignment. http2
// forces HTTP/2, as gRPC servers need.
func Cluster(name string, backend *gatewayapi.Backend, http2 bool) (snapshot.Resource, *snapshot.Resource) {
	c, assignment := newCluster(name, backend, http2)
	return published(c), assignment
}

// ServerCluster is the cluster of a user's own server, with the settings that the user gave it.
func ServerCluster(s *policy.Server, http2 bool) (snapshot.Resource, *snapshot.Resource) {
	c, assignment := newCluster(s.Name, s.Backend, http2)
	settle(c, s.Settings, http2 || s.Backend.HTTP2)
	return published(c), assignment
}

func published(c *cluster.Cluster) snapshot.Resource {
	out := resource(c.Name, c)
	out.EDS = c.GetEdsClusterConfig().GetServiceName()
	return out
}

func newCluster(name string, backend *gatewayapi.Backend, http2 bool) (*cluster.Cluster, *snapshot.Resource) {
	c := &cluster.Cluster{
		Name:           name,
		ConnectTimeout: duration(connectTimeout),
		LbPolicy:       cluster.Cluster_LEAST_REQUEST,
	}
	if http2 || backend.HTTP2 {
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{httpProtocolOption: http2Options()}
	}
	if backend.EDS != "" {
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_EDS}
		c.EdsClusterConfig = &cluster.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: backend.EDS}
		assignment := resource(backend.EDS, loadAssignment(backend.EDS, backend.Endpoints))
		return c, &assignment
	}
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
	if backend.DNS {
		// Asked again when an answer's TTL is over. A name with addresses of both families is used by IPv4, as
		// a backend that listens on one family usually does.
		c.ClusterDiscoveryType = &cluster.Cluster_ClusterType{ClusterType: resolvedByName(&dns.DnsCluster{
			RespectDnsTtl: true, DnsLookupFamily: dnscommon.DnsLookupFamily_V4_PREFERRED,
		})}
	}
	c.LoadAssignment = loadAssignment(name, backend.Endpoints)
	return c, nil
}

func resolvedByName(how *dns.DnsCluster) *cluster.Cluster_CustomClusterType {
	return &cluster.Cluster_CustomClusterType{Name: "envoy.cluster.dns", TypedConfig: typed(how)}
}

func http2Options() *anypb.Any {
	return typed(&upstream.HttpProtocolOptions{
		UpstreamProtocolOptions: &upstream.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &upstream.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &core.Http2ProtocolOptions{},
				},
			},
		},
	})
}

func ads() *core.ConfigSource {
	return &core.ConfigSource{
		ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}},
		ResourceApiVersion:    core.ApiVersion_V3,
	}
}

// loadAssignment groups endpoints by zone, in the order in which zones first appear.
func loadAssignment(name string, endpoints []gatewayapi.Endpoint) *endpoint.ClusterLoadAssignment {
	out := &endpoint.ClusterLoadAssignment{ClusterName: name}
	zones := map[string]*endpoint.LocalityLbEndpoints{}
	for _, e := range endpoints {
		group := zones[e.Zone]
		if group == nil {
			group = &endpoint.LocalityLbEndpoints{LoadBalancingWeight: number(1)}
			if e.Zone != "" {
				group.Locality = &core.Locality{Zone: e.Zone}
			}
			zones[e.Zone] = group
			out.Endpoints = append(out.Endpoints, group)
		}
		group.LbEndpoints = append(group.LbEndpoints, &endpoint.LbEndpoint{
			HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: address(e)}},
		})
		group.LoadBalancingWeight = number(uint32(len(group.LbEndpoints)))
	}
	return out
}

func address(e gatewayapi.Endpoint) *core.Address {
	if e.Path != "" {
		return pipe(e.Path)
	}
	return socket(e.Address, e.Port)
}

func socket(host string, port uint16) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: host, PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)},
	}}}
}

func pipe(path string) *core.Address {
	return &core.Address{Address: &core.Address_Pipe{Pipe: &core.Pipe{Path: path}}}
}
