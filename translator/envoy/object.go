package envoy

import (
	"encoding/json"
	"fmt"
	"strings"

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
	hideExtensions(object)
	return object, err
}

// hideExtensions redacts what a user's authorization server is told, as Envoy does: it may come from a
// Secret. What Gatehouse tells itself is none.
func hideExtensions(value any) {
	switch value := value.(type) {
	case []any:
		for _, element := range value {
			hideExtensions(element)
		}
	case map[string]any:
		for key, inner := range value {
			told, ok := inner.(map[string]any)
			if key != "context_extensions" || !ok {
				hideExtensions(inner)
				continue
			}
			for name := range told {
				if !strings.HasPrefix(name, product+".") {
					told[name] = redacted
				}
			}
		}
	}
}

// redacted stands for what isn't shown.
const redacted = "[redacted]"

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
		c.PrivateKey = &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: redacted}}
	}
	if g := s.GetGenericSecret(); g != nil {
		g.Secret = &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: redacted}}
	}
}
