package policytest

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocol "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// rewired is a snapshot for a trial: every TCP listener is on a free loopback port and believes what the
// PROXY protocol says of the client's address, and every backend is the echo server. Nothing else is
// changed.
type rewired struct {
	snapshot *snapshot.Snapshot
	ports    map[netip.AddrPort]int // by the listener's own address
}

func rewire(snap *snapshot.Snapshot, echo int, freePort func() (int, error)) (*rewired, error) {
	out := &rewired{ports: map[netip.AddrPort]int{}}
	changed := *snap
	changed.Resources = map[snapshot.Type][]snapshot.Resource{}
	for t, resources := range snap.Resources {
		changed.Resources[t] = nil
		for _, r := range resources {
			var err error
			switch t {
			case snapshot.Listener:
				r, err = out.listener(r, freePort)
			case snapshot.Cluster:
				r, err = toEcho(r, snap, echo)
			}
			if err != nil {
				return nil, err
			}
			if r.Name != "" {
				changed.Resources[t] = append(changed.Resources[t], r)
			}
		}
	}
	out.snapshot = &changed
	return out, nil
}

// listener moves a listener; a UDP one is left out, since cases are HTTP requests.
func (w *rewired) listener(r snapshot.Resource, freePort func() (int, error)) (snapshot.Resource, error) {
	l := &listener.Listener{}
	if err := proto.Unmarshal(r.Body, l); err != nil {
		return r, err
	}
	socket := l.GetAddress().GetSocketAddress()
	address, err := netip.ParseAddr(socket.GetAddress())
	if err != nil || socket.GetProtocol() == core.SocketAddress_UDP {
		return snapshot.Resource{}, err
	}
	port, err := freePort()
	if err != nil {
		return r, err
	}
	w.ports[netip.AddrPortFrom(address, uint16(socket.GetPortValue()))] = port //nolint:gosec // Envoy takes no larger one
	l.Address = socketAddress(port)
	config, err := anypb.New(&proxyprotocol.ProxyProtocol{})
	if err != nil {
		return r, err
	}
	l.ListenerFilters = append([]*listener.ListenerFilter{{
		Name: "gatehouse.test.proxy_protocol", ConfigType: &listener.ListenerFilter_TypedConfig{TypedConfig: config},
	}}, l.GetListenerFilters()...)
	out, err := marshalled(r.Name, l)
	out.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return out, err
}

// toEcho sends a backend's requests to the echo server. Servers that have a say in the request stay, and
// so do backends without endpoints, whose requests end in 503. Mirrors get nothing.
func toEcho(r snapshot.Resource, snap *snapshot.Snapshot, echo int) (snapshot.Resource, error) {
	if strings.Contains(r.Name, "/mirror/") { // a copy could come when the next case is under way
		return marshalled(r.Name, &cluster.Cluster{Name: r.Name, ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}})
	}
	if !strings.Contains(r.Name, "/backend/") {
		return r, nil
	}
	c := &cluster.Cluster{}
	if err := proto.Unmarshal(r.Body, c); err != nil {
		return r, err
	}
	assignment := c.GetLoadAssignment()
	if r.EDS != "" {
		for _, e := range snap.Resources[snapshot.Endpoint] {
			if e.Name == r.EDS {
				assignment = &endpoint.ClusterLoadAssignment{}
				if err := proto.Unmarshal(e.Body, assignment); err != nil {
					return r, err
				}
			}
		}
	}
	if c.GetClusterType() == nil && !hasEndpoints(assignment) {
		return r, nil
	}
	return marshalled(r.Name, &cluster.Cluster{
		Name: r.Name, ConnectTimeout: c.GetConnectTimeout(), TypedExtensionProtocolOptions: c.GetTypedExtensionProtocolOptions(),
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STATIC},
		LoadAssignment: &endpoint.ClusterLoadAssignment{ClusterName: r.Name, Endpoints: []*endpoint.LocalityLbEndpoints{{
			LbEndpoints: []*endpoint.LbEndpoint{{HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: socketAddress(echo)}}}},
		}}},
	})
}

func hasEndpoints(a *endpoint.ClusterLoadAssignment) bool {
	for _, locality := range a.GetEndpoints() {
		if len(locality.GetLbEndpoints()) > 0 {
			return true
		}
	}
	return false
}

func socketAddress(port int) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: "127.0.0.1", PortSpecifier: &core.SocketAddress_PortValue{PortValue: uint32(port)}, //nolint:gosec // a port
	}}}
}

func marshalled(name string, m proto.Message) (snapshot.Resource, error) {
	body, err := proto.Marshal(m)
	return snapshot.NewResource(name, body), err
}
