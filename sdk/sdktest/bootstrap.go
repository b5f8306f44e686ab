package sdktest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// object is a JSON object.
type object = map[string]any

const (
	filterName = "envoy.filters.http.ext_proc"
	typePrefix = "type.googleapis.com/"
)

// mortals is how many exchanges of one RealEnvoy may have a server that dies.
const mortals = 64

// bootstrap is Envoy's configuration without the listeners, which come from a file.
func (e *RealEnvoy) bootstrap() string {
	cluster := func(name, socket string) object {
		return object{
			"name": name, "connect_timeout": "5s",
			"circuit_breakers": object{"thresholds": []any{object{"max_retries": 1000}}}, // else 3 of all exchanges' at a time
			"typed_extension_protocol_options": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
				"@type":                typePrefix + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
				"explicit_http_config": object{"http2_protocol_options": object{"allow_connect": true}},
			}},
			"load_assignment": object{"cluster_name": name, "endpoints": []any{object{"lb_endpoints": []any{object{
				"endpoint": object{"address": object{"pipe": object{"path": filepath.Join(e.dir, socket)}}},
			}}}}},
		}
	}
	clusters := make([]any, 0, 4+mortals)
	clusters = append(clusters, cluster("processor", "processor"), cluster("nobody", "nobody"), cluster("upstream", "upstream"))
	clusters = append(clusters, overHTTP1(cluster("upstream1", "upstream1")))
	for i := range mortals {
		name := fmt.Sprintf("mortal%d", i+1)
		clusters = append(clusters, cluster(name, name))
	}
	out := object{
		"node": object{"id": "sdktest", "cluster": "sdktest"},
		"dynamic_resources": object{"lds_config": object{
			"resource_api_version": "V3",
			"path_config_source":   object{"path": filepath.Join(e.dir, "lds.json")},
		}},
		"static_resources": object{"clusters": clusters, "listeners": []any{e.barrierListener()}},
		// Whoever asks for a counter has all of them looked through.
		"stats_config": object{"stats_matcher": object{"inclusion_list": object{"patterns": []any{object{"prefix": "http.x.ext_proc."}}}}},
	}
	text, err := json.Marshal(out)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(text)
}

// typed makes a message a typed_config.
func typed(m proto.Message) (object, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	out := object{}
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, err
	}
	out["@type"] = typePrefix + string(m.ProtoReflect().Descriptor().FullName())
	return out, nil
}

// listener is the listener of exchange id, as JSON.
func (e *RealEnvoy) listener(id int, f Filter, cluster string) (string, error) {
	config := f.Config(cluster)
	tag := strconv.Itoa(id)
	config.GrpcService.InitialMetadata = append(config.GrpcService.InitialMetadata, headerValue(exchangeKey, tag))
	config.StatPrefix = "x" + tag
	filter, err := typed(config)
	if err != nil {
		return "", err
	}
	route, err := e.route(tag, f)
	if err != nil {
		return "", err
	}
	filters := append(e.metadataFilters(f.Metadata),
		object{"name": filterName, "typed_config": filter},
		object{"name": "envoy.filters.http.router", "typed_config": object{
			"@type": typePrefix + "envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": true,
		}})
	manager := object{
		"@type":       typePrefix + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": "x", "codec_type": f.codec(), "delayed_close_timeout": "0.05s", "generate_request_id": false, "use_remote_address": false,
		"server_header_transformation": "PASS_THROUGH", "http2_protocol_options": object{"initial_stream_window_size": f.bufferLimit(), "allow_connect": true},
		"upgrade_configs": []any{object{"upgrade_type": "websocket"}, object{"upgrade_type": "CONNECT"}},
		"route_config":    object{"virtual_hosts": []any{route}},
		"http_filters":    filters,
		"access_log":      []any{e.accessLog(tag, f)},
	}
	out := object{
		"@type": typePrefix + "envoy.config.listener.v3.Listener", "name": "x" + tag,
		"address":                           object{"pipe": object{"path": filepath.Join(e.dir, "l"+tag)}},
		"per_connection_buffer_limit_bytes": f.bufferLimit(),
		"filter_chains":                     []any{object{"filters": []any{object{"name": "http", "typed_config": manager}}}},
	}
	text, err := json.Marshal(out)
	return string(text), err
}

// route sends all to the upstream. Whoever asks for it by header gets another route, which shows whether the
// route was chosen again.
func (e *RealEnvoy) route(tag string, f Filter) (object, error) {
	always := object{"name": "first", "match": object{"prefix": "/"}, "route": f.upstream()}
	again := object{"name": "again", "match": object{"prefix": "/", "headers": []any{
		object{"name": "x-reroute", "string_match": object{"exact": "yes"}},
	}}, "route": f.upstream()}
	if c := f.RouteConfig(); c != nil {
		config, err := typed(c)
		if err != nil {
			return nil, err
		}
		always["typed_per_filter_config"] = object{filterName: config}
	}
	return object{
		"name": "all", "domains": []any{"*"}, "routes": []any{f.connectRoute(), again, always},
		"request_headers_to_add": []any{object{"header": object{"key": exchangeKey, "value": tag}}},
	}, nil
}

// metadataFilters write the metadata that is there before the filter runs.
func (e *RealEnvoy) metadataFilters(metadata map[string]*structpb.Struct) []any {
	if len(metadata) == 0 {
		return []any{}
	}
	var list []any
	for ns, value := range metadata {
		list = append(list, object{"metadata_namespace": ns, "value": value.AsMap()})
	}
	return []any{object{"name": "metadata", "typed_config": object{
		"@type": typePrefix + "envoy.extensions.filters.http.set_metadata.v3.Config", "metadata": list,
	}}}
}

func (e *RealEnvoy) accessLog(tag string, f Filter) object {
	metadata := object{}
	for _, ns := range f.Receive {
		metadata[ns] = "%DYNAMIC_METADATA(" + ns + ")%"
	}
	for ns := range f.Metadata {
		metadata[ns] = "%DYNAMIC_METADATA(" + ns + ")%"
	}
	format := object{"id": tag, "details": "%RESPONSE_CODE_DETAILS%", "route": "%ROUTE_NAME%"}
	if len(metadata) > 0 {
		format["metadata"] = metadata
	}
	return object{"name": "log", "typed_config": object{
		"@type":      typePrefix + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
		"path":       filepath.Join(e.dir, "log"),
		"log_format": object{"json_format": format},
	}}
}
