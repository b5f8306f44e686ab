package main

import (
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

type object = map[string]any

// bootstrap has a listener for each row: cors, ext_authz as Gatehouse configures it, and a router that
// answers by itself, so that no backend takes part.
func (b *bench) bootstrap() object {
	listeners, clusters := make([]object, 0, len(b.rows)), make([]object, 0, len(b.rows))
	for i, r := range b.rows {
		cluster := fmt.Sprintf("row-%d", i)
		clusters = append(clusters, object{
			"name": cluster, "type": "STATIC", "connect_timeout": "1s",
			"typed_extension_protocol_options": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": object{"http2_protocol_options": object{}},
			}},
			"load_assignment": object{"cluster_name": cluster, "endpoints": []object{{"lb_endpoints": []object{{"endpoint": object{"address": object{"pipe": object{"path": r.socket}}}}}}}},
		})
		listeners = append(listeners, listener(cluster, r))
	}
	return object{"static_resources": object{"listeners": listeners, "clusters": clusters}}
}

func listener(cluster string, r *row) object {
	route := object{
		"match": object{"prefix": "/"}, "direct_response": object{"status": 200},
		"typed_per_filter_config": object{
			"ext_authz": object{
				"@type":          "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
				"check_settings": object{"context_extensions": object{envoy.ExtensionPolicy: r.reference}},
			},
			"cors": object{
				"@type":                     "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
				"allow_origin_string_match": []object{{"exact": origin}},
			},
		},
	}
	manager := object{
		"@type":       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": cluster, "normalize_path": true,
		"route_config": object{"virtual_hosts": []object{{"name": "all", "domains": []string{"*"}, "routes": []object{route}}}},
		"http_filters": []object{
			{"name": "cors", "typed_config": object{"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}},
			{"name": "ext_authz", "typed_config": object{
				"@type":                 "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
				"transport_api_version": "V3", "encode_raw_headers": true, "status_on_error": object{"code": 503},
				"grpc_service": object{"timeout": "2s", "envoy_grpc": object{"cluster_name": cluster}},
			}},
			{"name": "router", "typed_config": object{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}},
		},
	}
	return object{
		"name":          cluster,
		"address":       object{"socket_address": object{"address": "127.0.0.1", "port_value": r.port}},
		"filter_chains": []object{{"filters": []object{{"name": "hcm", "typed_config": manager}}}},
	}
}
