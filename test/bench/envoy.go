package main

import (
	"fmt"
	"maps"
	"slices"
)

type object = map[string]any

// bootstrap has a listener for each row: the comparison's filter, and a router that answers by itself, so
// that no backend takes part.
func (b *bench) bootstrap() object {
	listeners, clusters := make([]object, 0, len(b.rows)), make([]object, 0, len(b.rows))
	for i, r := range b.rows {
		cluster := fmt.Sprintf("row-%d", i)
		if r.role != roleNone {
			clusters = append(clusters, serverCluster(cluster, r.socket))
		}
		listeners = append(listeners, listener(cluster, r.port, b.chain(r, cluster)))
	}
	return object{"static_resources": object{"listeners": listeners, "clusters": clusters}}
}

func serverCluster(name, socket string) object {
	return object{
		"name": name, "type": "STATIC", "connect_timeout": "1s",
		"typed_extension_protocol_options": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
			"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
			"explicit_http_config": object{"http2_protocol_options": object{}},
		}},
		"load_assignment": object{"cluster_name": name, "endpoints": []object{{"lb_endpoints": []object{{"endpoint": object{"address": object{"pipe": object{"path": socket}}}}}}}},
	}
}

// chain is what a row's requests pass before the router, and what more their route says.
type chain struct {
	filters []object
	route   object
}

func listener(name string, port int, c chain) object {
	route := object{"match": object{"prefix": "/"}, "direct_response": object{"status": 200}}
	maps.Copy(route, c.route)
	router := object{"name": "router", "typed_config": object{"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
	manager := object{
		"@type":       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": name, "normalize_path": true,
		"route_config": object{"virtual_hosts": []object{{"name": "all", "domains": []string{"*"}, "routes": []object{route}}}},
		"http_filters": append(slices.Clone(c.filters), router),
	}
	return object{
		"name":          name,
		"address":       object{"socket_address": object{"address": "127.0.0.1", "port_value": port}},
		"filter_chains": []object{{"filters": []object{{"name": "hcm", "typed_config": manager}}}},
	}
}
