package emulate

import (
	"maps"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest/internal/link"
)

// attributesKey is the one key of ProcessingRequest.attributes.
const attributesKey = "envoy.filters.http.ext_proc"

// message begins a message with what every one has.
func (d *direction) message() *processingRequest {
	e := d.e
	m := &processingRequest{ObservabilityMode: e.filter.GetObservabilityMode(), MetadataContext: e.metadataContext()}
	if names := d.attributeNames(); len(names) > 0 && !d.attributesSent {
		d.attributesSent = true
		m.Attributes = map[string]*structpb.Struct{attributesKey: d.attributes(names)}
	}
	if !e.configSent && !m.GetObservabilityMode() {
		e.configSent = true
		m.ProtocolConfig = &extprocv3.ProtocolConfiguration{
			RequestBodyMode: e.request.mode, ResponseBodyMode: e.response.mode,
			SendBodyWithoutWaitingForHeaderResponse: e.filter.GetSendBodyWithoutWaitingForHeaderResponse(),
		}
	}
	return m
}

func (d *direction) headersMessage(end bool) *processingRequest {
	m := d.message()
	h := &extprocv3.HttpHeaders{Headers: d.e.wire(d.fields), EndOfStream: end}
	if d.request {
		m.Request = &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: h}
	} else {
		m.Request = &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: h}
	}
	return m
}

func (d *direction) bodyMessage(p []byte, end bool) *processingRequest {
	m := d.message()
	b := &extprocv3.HttpBody{Body: append([]byte{}, p...), EndOfStream: end}
	if d.request {
		m.Request = &extprocv3.ProcessingRequest_RequestBody{RequestBody: b}
	} else {
		m.Request = &extprocv3.ProcessingRequest_ResponseBody{ResponseBody: b}
	}
	return m
}

func (d *direction) trailersMessage() *processingRequest {
	m := d.message()
	t := &extprocv3.HttpTrailers{Trailers: d.e.wire(d.trailers)}
	if d.request {
		m.Request = &extprocv3.ProcessingRequest_RequestTrailers{RequestTrailers: t}
	} else {
		m.Request = &extprocv3.ProcessingRequest_ResponseTrailers{ResponseTrailers: t}
	}
	return m
}

// wire is the form in which header lines are sent: those that may be, values as raw bytes.
func (e *Emulator) wire(h []link.Field) *corev3.HeaderMap {
	out := new(corev3.HeaderMap)
	rules := e.filter.GetForwardRules()
	for _, f := range h {
		if rules.GetDisallowedHeaders() != nil && inList(rules.GetDisallowedHeaders(), f.Name) ||
			rules.GetAllowedHeaders() != nil && !inList(rules.GetAllowedHeaders(), f.Name) {
			continue
		}
		out.Headers = append(out.Headers, &corev3.HeaderValue{Key: f.Name, RawValue: []byte(f.Value)})
	}
	return out
}

func inList(list *matcherv3.ListStringMatcher, name string) bool {
	for _, p := range list.GetPatterns() {
		var hit bool
		switch p := p.GetMatchPattern().(type) {
		case *matcherv3.StringMatcher_Exact:
			hit = name == p.Exact
		case *matcherv3.StringMatcher_Prefix:
			hit = strings.HasPrefix(name, p.Prefix)
		case *matcherv3.StringMatcher_Suffix:
			hit = strings.HasSuffix(name, p.Suffix)
		case *matcherv3.StringMatcher_Contains:
			hit = strings.Contains(name, p.Contains)
		case *matcherv3.StringMatcher_SafeRegex:
			hit = matches(p.SafeRegex, name)
		}
		if hit {
			return true
		}
	}
	return false
}

// metadataContext holds the namespaces that are forwarded, and is there even if there are none. Of a
// namespace that the cluster has too, the exchange's own is sent.
func (e *Emulator) metadataContext() *corev3.Metadata {
	options := e.metadataOptions()
	out := &corev3.Metadata{}
	put := func(names []string, from map[string]*structpb.Struct) {
		for _, name := range names {
			if value, ok := from[name]; ok {
				if out.FilterMetadata == nil {
					out.FilterMetadata = map[string]*structpb.Struct{}
				}
				out.FilterMetadata[name] = value
			}
		}
	}
	put(options.GetClusterMetadataForwardingNamespaces().GetUntyped(), e.cfg.ClusterMetadata)
	put(options.GetForwardingNamespaces().GetUntyped(), e.metadata)
	for _, name := range options.GetForwardingNamespaces().GetTyped() {
		if value, ok := e.typedMetadata[name]; ok {
			if out.TypedFilterMetadata == nil {
				out.TypedFilterMetadata = map[string]*anypb.Any{}
			}
			out.TypedFilterMetadata[name] = value
		}
	}
	return out
}

// metadataOptions are the filter's, but for what the route says.
func (e *Emulator) metadataOptions() *extprocfilterv3.MetadataOptions {
	own, route := e.filter.GetMetadataOptions(), e.route.GetOverrides().GetMetadataOptions()
	out := &extprocfilterv3.MetadataOptions{
		ForwardingNamespaces: own.GetForwardingNamespaces(), ReceivingNamespaces: own.GetReceivingNamespaces(),
		ClusterMetadataForwardingNamespaces: own.GetClusterMetadataForwardingNamespaces(),
	}
	if o := route.GetForwardingNamespaces(); o != nil {
		out.ForwardingNamespaces = o
	}
	if o := route.GetReceivingNamespaces(); o != nil {
		out.ReceivingNamespaces = o
	}
	if o := route.GetClusterMetadataForwardingNamespaces(); o != nil {
		out.ClusterMetadataForwardingNamespaces = o
	}
	return out
}

// receive takes the dynamic metadata of an answer, as far as its namespaces are listed.
func (e *Emulator) receive(m *processingResponse) {
	names := e.metadataOptions().GetReceivingNamespaces()
	for _, name := range names.GetUntyped() {
		value, ok := m.GetDynamicMetadata().GetFields()[name]
		if !ok || value.GetStructValue() == nil {
			continue
		}
		merged := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		maps.Copy(merged.GetFields(), e.metadata[name].GetFields())
		maps.Copy(merged.GetFields(), value.GetStructValue().GetFields())
		e.metadata[name] = merged
	}
	for _, name := range names.GetTyped() {
		if value, ok := m.GetTypedDynamicMetadata()[name]; ok {
			e.typedMetadata[name] = value
		}
	}
}
