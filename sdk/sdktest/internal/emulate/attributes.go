package emulate

import (
	"strconv"
	"strings"

	mappedattributesv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/ext_proc/processing_request_modifiers/mapped_attribute_builder/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// attributeNames are the attributes to send, by the names by which they are sent.
func (d *direction) attributeNames() map[string]string {
	modifier := d.e.filter.GetProcessingRequestModifier()
	if o := d.e.route.GetOverrides().GetProcessingRequestModifier(); o != nil {
		modifier = o
	}
	mapping := new(mappedattributesv3.MappedAttributeBuilder)
	if modifier != nil && modifier.GetTypedConfig().UnmarshalTo(mapping) == nil && d.request {
		return mapping.GetMappedRequestAttributes()
	}
	names := d.e.filter.GetResponseAttributes()
	if d.request {
		names = d.e.filter.GetRequestAttributes()
	}
	out := map[string]string{}
	for _, name := range names {
		out[name] = name
	}
	return out
}

// attributes evaluates those that there are by now; others are left out, as in Envoy.
func (d *direction) attributes(names map[string]string) *structpb.Struct {
	out := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for as, name := range names {
		value := d.e.attribute(name, d.request)
		if fact, ok := d.e.cfg.Facts[name]; ok {
			value = fact
		}
		if v, err := structpb.NewValue(value); err == nil && value != nil {
			out.Fields[as] = v
		}
	}
	return out
}

// attribute is the value of an attribute, nil if there is none.
func (e *Emulator) attribute(name string, request bool) any {
	switch kind, _, _ := strings.Cut(name, "."); kind {
	case "request":
		return e.requestAttribute(name)
	case "response":
		return e.responseAttribute(name, request)
	case "upstream":
		return upstreamAttribute(name, request)
	case "xds":
		return e.xdsAttribute(name, request)
	}
	switch name {
	case "filter_state", "metadata.filter_metadata":
		return aMap
	case "metadata":
		return ""
	case "upstream_filter_state":
		if !request {
			return aMap
		}
	}
	return nil
}

// aMap is how Envoy 1.40 writes all that isn't text, a number or a truth value.
const aMap = "CelMap value"

// varies stands for a value that isn't the same twice.
const varies = "varies"

func (e *Emulator) requestAttribute(name string) any {
	path, _ := link.Get(e.up.fields, ":path")
	before, query, _ := strings.Cut(path, "?")
	switch name {
	case "request.path":
		return path
	case "request.url_path":
		return before
	case "request.query":
		return query
	case "request.protocol":
		if e.cfg.HTTP1 {
			return "HTTP/1.1"
		}
		return "HTTP/2"
	case "request.headers":
		return aMap
	case "request.time":
		return varies
	case "request.size":
		if text, ok := link.Get(e.up.fields, "content-length"); ok {
			n, _ := strconv.Atoi(text)
			return n
		}
		return e.up.size
	case "request.total_size":
		return e.up.size
	}
	header := map[string]string{
		"request.host": ":authority", "request.scheme": ":scheme", "request.method": ":method",
		"request.useragent": "user-agent", "request.referer": "referer", "request.id": "x-request-id",
	}[name]
	if value, ok := link.Get(e.up.fields, header); ok {
		return value
	}
	return nil
}

func (e *Emulator) responseAttribute(name string, request bool) any {
	switch name {
	case "response.headers", "response.trailers":
		return aMap
	case "response.flags":
		return 0
	case "response.size", "response.total_size":
		return e.down.size
	}
	if request {
		return nil
	}
	text, _ := link.Get(e.down.fields, ":status")
	status, _ := strconv.Atoi(text)
	switch name {
	case "response.code":
		return status
	case "response.code_details":
		return e.details
	case "response.grpc_status":
		return int(grpcStatus(status))
	case "response.backend_latency":
		if e.down.whole { // it ends with the response's last byte
			return varies
		}
	}
	return nil
}

func upstreamAttribute(name string, request bool) any {
	if name == "upstream.request_attempt_count" {
		if request {
			return 0
		}
		return 1
	}
	if request {
		return nil
	}
	switch name {
	case "upstream.address", "upstream.cx_pool_ready_duration":
		return varies
	case "upstream.locality", "upstream.transport_failure_reason":
		return ""
	}
	return nil
}

// xdsAttribute names what the exchange's fixture has: one cluster, one virtual host, two routes.
func (e *Emulator) xdsAttribute(name string, request bool) any {
	switch name {
	case "xds.cluster_name":
		return "upstream"
	case "xds.virtual_host_name":
		return "all"
	case "xds.route_name":
		if e.again() {
			return "again"
		}
		return "first"
	case "xds.listener_direction":
		return 0
	case "xds.filter_chain_name", "xds.route_metadata", "xds.virtual_host_metadata", "xds.listener_metadata":
		return ""
	case "xds.cluster_metadata", "xds.node":
		return varies
	case "xds.upstream_host_metadata", "xds.upstream_host_locality_metadata":
		if !request {
			return "NULL"
		}
	}
	return nil
}
