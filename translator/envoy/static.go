package envoy

import (
	"fmt"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// Static puts a whole snapshot into one bootstrap, secrets included, for an Envoy without a control
// plane.
func Static(snap *snapshot.Snapshot, o BootstrapOptions) (*bootstrap.Bootstrap, error) {
	out := NewBootstrap(o)
	s := &inliner{routes: map[string]*route.RouteConfiguration{}, endpoints: map[string]*endpoint.ClusterLoadAssignment{}}
	if err := s.read(snap); err != nil {
		return nil, err
	}
	for _, r := range snap.Resources[snapshot.Cluster] {
		c := &cluster.Cluster{}
		if err := proto.Unmarshal(r.Body, c); err != nil {
			return nil, err
		}
		s.inlineEndpoints(c)
		out.StaticResources.Clusters = append(out.StaticResources.Clusters, c)
	}
	for _, r := range snap.Resources[snapshot.Secret] {
		secret := &tls.Secret{}
		if err := proto.Unmarshal(r.Body, secret); err != nil {
			return nil, err
		}
		out.StaticResources.Secrets = append(out.StaticResources.Secrets, secret)
	}
	for _, r := range snap.Resources[snapshot.Listener] {
		l := &listener.Listener{}
		if err := proto.Unmarshal(r.Body, l); err != nil {
			return nil, err
		}
		if err := s.inlineListener(l); err != nil {
			return nil, err
		}
		out.StaticResources.Listeners = append(out.StaticResources.Listeners, l)
	}
	return out, nil
}

type inliner struct {
	routes    map[string]*route.RouteConfiguration
	endpoints map[string]*endpoint.ClusterLoadAssignment
}

func (s *inliner) read(snap *snapshot.Snapshot) error {
	for _, r := range snap.Resources[snapshot.Route] {
		config := &route.RouteConfiguration{}
		if err := proto.Unmarshal(r.Body, config); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		// A faulty backendRef is a route to no cluster, which a static configuration may not have.
		config.ValidateClusters = boolean(false)
		if _, err := staticLogins(config); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		s.routes[r.Name] = config
	}
	for _, r := range snap.Resources[snapshot.Endpoint] {
		assignment := &endpoint.ClusterLoadAssignment{}
		if err := proto.Unmarshal(r.Body, assignment); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		s.endpoints[r.Name] = assignment
	}
	return nil
}

func (s *inliner) inlineEndpoints(c *cluster.Cluster) {
	if c.EdsClusterConfig == nil {
		return
	}
	assignment := proto.CloneOf(s.endpoints[c.EdsClusterConfig.ServiceName])
	assignment.ClusterName = c.Name
	c.LoadAssignment = assignment
	c.EdsClusterConfig = nil
	c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
}

func (s *inliner) inlineListener(l *listener.Listener) error {
	chains := l.FilterChains
	if l.DefaultFilterChain != nil {
		chains = append(chains, l.DefaultFilterChain)
	}
	for _, c := range chains {
		for _, f := range c.Filters {
			if err := edit(f.GetTypedConfig(), &hcm.HttpConnectionManager{}, func(m *hcm.HttpConnectionManager) {
				m.RouteSpecifier = &hcm.HttpConnectionManager_RouteConfig{RouteConfig: s.routes[m.GetRds().GetRouteConfigName()]}
			}); err != nil {
				return err
			}
		}
		if c.TransportSocket == nil {
			continue
		}
		if err := edit(c.TransportSocket.GetTypedConfig(), &tls.DownstreamTlsContext{}, func(t *tls.DownstreamTlsContext) {
			for _, sds := range t.CommonTlsContext.TlsCertificateSdsSecretConfigs {
				sds.SdsConfig = nil // by name, from the bootstrap
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// edit changes the message inside config in place.
func edit[M proto.Message](config *anypb.Any, m M, change func(M)) error {
	if err := proto.Unmarshal(config.GetValue(), m); err != nil {
		return err
	}
	change(m)
	config.Value = marshal(m)
	return nil
}
