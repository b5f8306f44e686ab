package sdktest

import (
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// frame is one event of a stream between filter and processor.
type frame struct {
	request  *extprocv3.ProcessingRequest
	response *extprocv3.ProcessingResponse
	closed   bool
	code     codes.Code
}

// String names the frame, from the processor's point of view, bodies with their size; the end has none.
func (f frame) String() string {
	switch {
	case f.request != nil:
		return "> " + requestKind(f.request)
	case f.response != nil:
		return "< " + responseKind(f.response)
	}
	return ""
}

func requestKind(m *extprocv3.ProcessingRequest) string {
	name := kind(m.ProtoReflect(), "request")
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return name + ended(r.RequestHeaders.GetEndOfStream())
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		return name + ended(r.ResponseHeaders.GetEndOfStream())
	case *extprocv3.ProcessingRequest_RequestBody:
		return name + sizeOf(r.RequestBody)
	case *extprocv3.ProcessingRequest_ResponseBody:
		return name + sizeOf(r.ResponseBody)
	}
	return name
}

func ended(end bool) string {
	if end {
		return ".end"
	}
	return ""
}

func sizeOf(b *extprocv3.HttpBody) string {
	return fmt.Sprintf("(%d)%s", len(b.GetBody()), ended(b.GetEndOfStream()))
}

// content is what else of a message the processor saw: header lines, but for those that proxies add, the
// modes, metadata and attributes.
func (f frame) content() string {
	m := f.request
	if m == nil {
		return ""
	}
	var out []string
	var h *corev3.HeaderMap
	switch r := m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		h = r.RequestHeaders.GetHeaders()
	case *extprocv3.ProcessingRequest_ResponseHeaders:
		h = r.ResponseHeaders.GetHeaders()
	case *extprocv3.ProcessingRequest_RequestTrailers:
		h = r.RequestTrailers.GetTrailers()
	case *extprocv3.ProcessingRequest_ResponseTrailers:
		h = r.ResponseTrailers.GetTrailers()
	}
	for _, line := range h.GetHeaders() {
		if !added(line.GetKey()) {
			out = append(out, fmt.Sprintf("%s=%q%q", line.GetKey(), line.GetRawValue(), line.GetValue()))
		}
	}
	slices.Sort(out)
	if c := m.GetProtocolConfig(); c != nil {
		out = append(out, fmt.Sprint(c.GetRequestBodyMode(), c.GetResponseBodyMode(), c.GetSendBodyWithoutWaitingForHeaderResponse()))
	}
	var sets []string
	for ns, value := range m.GetMetadataContext().GetFilterMetadata() {
		sets = append(sets, fmt.Sprint(ns, value.AsMap()))
	}
	for ns, value := range m.GetMetadataContext().GetTypedFilterMetadata() {
		sets = append(sets, fmt.Sprintf("%s %s %x", ns, value.GetTypeUrl(), value.GetValue()))
	}
	for key, value := range m.GetAttributes() {
		sets = append(sets, fmt.Sprint(key, steady(value.AsMap())))
	}
	slices.Sort(sets)
	out = append(out, sets...)
	if m.GetObservabilityMode() {
		out = append(out, "observability")
	}
	return strings.Join(out, " ")
}

// variable are the attributes whose values aren't the same twice. Addresses are, but for sockets in a file system.
var variable = []string{
	"connection.id", "request.time", "request.total_size", "response.total_size", "response.backend_latency",
	"upstream.address", "upstream.cx_pool_ready_duration", "xds.cluster_metadata", "xds.node", "metadata",
}

// steady has the types of values that vary in place of them.
func steady(values map[string]any) map[string]any {
	for name, value := range values {
		text, _ := value.(string)
		if slices.Contains(variable, name) || strings.HasSuffix(name, ".address") && (text == "" || strings.HasPrefix(text, "/")) {
			values[name] = fmt.Sprintf("%T", value)
		}
	}
	return values
}

// responseKind names what a message of the processor is.
func responseKind(m *extprocv3.ProcessingResponse) string {
	if name := kind(m.ProtoReflect(), "response"); name != "" {
		return name
	}
	switch {
	case m.GetOverrideMessageTimeout() != nil:
		return "override_message_timeout"
	case m.GetModeOverride() != nil:
		return "mode_override"
	}
	return "nothing"
}

func isResponse(m *extprocv3.ProcessingRequest) bool {
	switch m.GetRequest().(type) {
	case *extprocv3.ProcessingRequest_ResponseHeaders, *extprocv3.ProcessingRequest_ResponseBody,
		*extprocv3.ProcessingRequest_ResponseTrailers:
		return true
	}
	return false
}

// kind is the name of the member of a oneof that is set.
func kind(m protoreflect.Message, oneof protoreflect.Name) string {
	field := m.WhichOneof(m.Descriptor().Oneofs().ByName(oneof))
	if field == nil {
		return ""
	}
	return string(field.Name())
}
