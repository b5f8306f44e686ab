package sdktest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// object is a JSON object.
type object = map[string]any

const (
	filterName = "envoy.filters.http.ext_proc"
	// innerName and innerTag are of the inner filter, and tell its streams and counters from the outer one's.
	innerName  = "inner"
	innerTag   = "-inner"
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
				"explicit_http_config": object{"http2_protocol_options": object{"allow_connect": true, "initial_stream_window_size": 1 << 20}},
			}},
			"load_assignment": object{"cluster_name": name, "endpoints": []any{object{"lb_endpoints": []any{object{
				"endpoint": object{"address": object{"pipe": object{"path": filepath.Join(e.dir, socket)}}},
			}}}}},
		}
	}
	clusters := make([]any, 0, 4+mortals)
	upstream := cluster("upstream", "upstream")
	own := object{}
	for ns, value := range ClusterMetadata() {
		own[ns] = value.AsMap()
	}
	upstream["metadata"] = object{"filter_metadata": own}
	clusters = append(clusters, cluster("processor", "processor"), cluster("nobody", "nobody"), upstream)
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
	value, err := anypb.New(m)
	if err != nil {
		return nil, err
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(value)
	if err != nil {
		return nil, err
	}
	out := object{}
	return out, json.Unmarshal(text, &out)
}

// listener is the listener of exchange id, as JSON.
func (e *RealEnvoy) listener(id int, f Filter, cluster string) (string, error) {
	tag := strconv.Itoa(id)
	route, err := e.route(tag, f)
	if err != nil {
		return "", err
	}
	filters, err := e.filters(tag, f, cluster)
	if err != nil {
		return "", err
	}
	manager := object{
		"@type":       typePrefix + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": "x", "codec_type": f.codec(), "delayed_close_timeout": "0.05s", "generate_request_id": false, "use_remote_address": false,
		"server_header_transformation": "PASS_THROUGH", "http2_protocol_options": object{"initial_stream_window_size": f.bufferLimit(), "allow_connect": true},
		"upgrade_configs": []any{object{"upgrade_type": "websocket"}, object{"upgrade_type": "CONNECT"}},
		"route_config":    object{"virtual_hosts": []any{route}},
		"http_filters":    filters,
		"access_log":      []any{e.accessLog(tag, f)},
	}
	chain := object{"filters": []any{object{"name": "http", "typed_config": manager}}}
	out := object{
		"@type": typePrefix + "envoy.config.listener.v3.Listener", "name": "x" + tag,
		"address":                           object{"pipe": object{"path": filepath.Join(e.dir, "l"+tag)}},
		"per_connection_buffer_limit_bytes": f.bufferLimit(),
		"filter_chains":                     []any{chain},
	}
	if err := f.Connection.listener(out, chain); err != nil {
		return "", err
	}
	text, err := json.Marshal(out)
	return string(text), err
}

// filters are the exchange's HTTP filters.
func (e *RealEnvoy) filters(tag string, f Filter, cluster string) ([]any, error) {
	all, err := e.metadataFilters(f)
	if err != nil {
		return nil, err
	}
	add := func(name, tag string, config *extprocfilterv3.ExternalProcessor) error {
		config.GrpcService.InitialMetadata = append(config.GrpcService.InitialMetadata, headerValue(exchangeKey, tag))
		config.StatPrefix = "x" + tag
		filter, err := typed(config)
		all = append(all, object{"name": name, "typed_config": filter})
		return err
	}
	all = append(all, f.Outside.filter()...)
	if err := add(filterName, tag, f.Config(cluster)); err != nil {
		return nil, err
	}
	all = append(all, f.Inside.filter()...)
	if i := f.Inner; i != nil {
		if err := add(innerName, tag+innerTag, i.Filter.Config("processor")); err != nil {
			return nil, err
		}
	}
	return append(all, object{"name": "envoy.filters.http.router", "typed_config": object{
		"@type": typePrefix + "envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": true,
	}}), nil
}

// filter is the codec as a filter of Envoy's.
func (c Codec) filter() []any {
	const library = typePrefix + "envoy.extensions.compression.gzip."
	switch c {
	case Decompressor:
		return []any{object{"name": "decompressor", "typed_config": object{
			"@type": typePrefix + "envoy.extensions.filters.http.decompressor.v3.Decompressor",
			"decompressor_library": object{"name": "gzip", "typed_config": object{
				"@type": library + "decompressor.v3.Gzip", "window_bits": 15,
			}},
		}}}
	case Compressor:
		return []any{object{"name": "compressor", "typed_config": object{
			"@type":              typePrefix + "envoy.extensions.filters.http.compressor.v3.Compressor",
			"compressor_library": object{"name": "gzip", "typed_config": object{"@type": library + "compressor.v3.Gzip"}},
		}}}
	}
	return nil
}

// route sends all to the upstream. Whoever asks for it by header gets another route, which shows whether the
// route was chosen again.
func (e *RealEnvoy) route(tag string, f Filter) (object, error) {
	always := object{"name": "first", "match": object{"prefix": "/"}, "route": f.upstream()}
	again := object{"name": "again", "match": object{"prefix": "/", "headers": []any{
		object{"name": "x-reroute", "string_match": object{"exact": "yes"}},
	}}, "route": f.upstream()}
	host := object{
		"name": "all", "domains": []any{"*"}, "routes": []any{f.connectRoute(), again, always},
		"request_headers_to_add": []any{object{"header": object{"key": exchangeKey, "value": tag}}},
	}
	for _, place := range []struct {
		at   object
		pick func(Filter) *Override
	}{
		{always, func(f Filter) *Override { return f.Route }},
		{again, func(f Filter) *Override { return f.Again }},
		{host, func(f Filter) *Override { return f.VirtualHost }},
	} {
		all := object{}
		if err := override(all, filterName, tag, place.pick(f)); err != nil {
			return nil, err
		}
		if f.Inner != nil {
			if err := override(all, innerName, tag+innerTag, place.pick(f.Inner.Filter)); err != nil {
				return nil, err
			}
		}
		if len(all) > 0 {
			place.at["typed_per_filter_config"] = all
		}
	}
	return host, nil
}

// override puts the override of the filter of that name into to.
func override(to object, name, tag string, o *Override) error {
	if o == nil {
		return nil
	}
	config, err := typed(o.proto(headerValue(exchangeKey, tag)))
	to[name] = config
	return err
}

// metadataFilters write the metadata that is there before the filter runs.
func (e *RealEnvoy) metadataFilters(f Filter) ([]any, error) {
	var list []any
	for ns, value := range f.Metadata {
		list = append(list, object{"metadata_namespace": ns, "value": value.AsMap()})
	}
	for ns, value := range f.TypedMetadata {
		content, err := typed(value)
		if err != nil {
			return nil, err
		}
		list = append(list, object{"metadata_namespace": ns, "typed_value": content})
	}
	if len(list) == 0 {
		return nil, nil
	}
	return []any{object{"name": "metadata", "typed_config": object{
		"@type": typePrefix + "envoy.extensions.filters.http.set_metadata.v3.Config", "metadata": list,
	}}}, nil
}

func (e *RealEnvoy) accessLog(tag string, f Filter) object {
	metadata := object{}
	received := f.Receive
	if f.Route != nil && f.Route.Metadata != nil {
		received = append(slices.Clone(received), f.Route.Metadata.Receive...)
	}
	for _, ns := range received {
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
