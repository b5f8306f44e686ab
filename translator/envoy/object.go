package envoy

import (
	"encoding/json"
	"fmt"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// Object decodes a resource into what its JSON form holds, with secrets redacted.
func Object(t snapshot.Type, r snapshot.Resource) (any, error) {
	m := message(t)
	if err := proto.Unmarshal(r.Body, m); err != nil {
		return nil, fmt.Errorf("%s %s: %w", t, r.Name, err)
	}
	if secret, ok := m.(*tls.Secret); ok {
		redact(secret)
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", t, r.Name, err)
	}
	var object any
	err = json.Unmarshal(text, &object)
	return object, err
}

func message(t snapshot.Type) proto.Message {
	switch t {
	case snapshot.Secret:
		return &tls.Secret{}
	case snapshot.Cluster:
		return &cluster.Cluster{}
	case snapshot.Endpoint:
		return &endpoint.ClusterLoadAssignment{}
	case snapshot.Route:
		return &route.RouteConfiguration{}
	case snapshot.Listener:
		return &listener.Listener{}
	}
	return &core.TypedExtensionConfig{}
}

func redact(s *tls.Secret) {
	if c := s.GetTlsCertificate(); c != nil {
		c.PrivateKey = &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: "[redacted]"}}
	}
}
