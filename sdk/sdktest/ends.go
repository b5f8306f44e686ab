package sdktest

import "path/filepath"

// codec is the connection manager's codec_type.
func (f Filter) codec() string {
	if f.HTTP1 {
		return "HTTP1"
	}
	return "HTTP2"
}

// upstream is the action of routes.
func (f Filter) upstream() object {
	out := object{"cluster": "upstream", "timeout": "0s"}
	if f.HTTP1 {
		out["cluster"] = "upstream1"
	}
	if f.Retries > 0 {
		out["retry_policy"] = object{"retry_on": "5xx,reset", "num_retries": f.Retries, "retry_back_off": object{"base_interval": "0.001s"}}
	}
	return out
}

// overHTTP1 has a cluster speak HTTP/1.1, with a connection for each request: what an exchange leaves on
// one isn't the next one's.
func overHTTP1(cluster object) object {
	const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
	cluster["typed_extension_protocol_options"] = object{options: object{
		"@type":                        typePrefix + options,
		"common_http_protocol_options": object{"max_requests_per_connection": 1},
		"explicit_http_config":         object{"http_protocol_options": object{}},
	}}
	return cluster
}

// barrierListener is where Envoy is asked whether it has handled what came before.
func (e *RealEnvoy) barrierListener() object {
	manager := object{
		"@type":       typePrefix + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": "barrier", "codec_type": "HTTP2", "route_config": object{},
		"http_filters": []any{object{"name": "envoy.filters.http.router", "typed_config": object{
			"@type": typePrefix + "envoy.extensions.filters.http.router.v3.Router",
		}}},
	}
	return object{
		"name": "barrier", "address": object{"pipe": object{"path": filepath.Join(e.dir, "barrier")}},
		"filter_chains": []any{object{"filters": []any{object{"name": "http", "typed_config": manager}}}},
	}
}

// connectRoute takes CONNECT where the other routes, which have a path, don't.
func (f Filter) connectRoute() object {
	return object{"name": "connect", "match": object{"connect_matcher": object{}}, "route": f.upstream()}
}
