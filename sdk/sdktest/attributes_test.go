package sdktest_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// metadataCases are about dynamic metadata of both kinds, and the cluster's.
func metadataCases() (all []conform) {
	add := func(name string, p any, f sdktest.Filter) {
		all = append(all, conform{group: "Metadata", name: name, processor: p, filter: f, request: sdktest.Request{
			Body: []string{"question"}, Upstream: sdktest.Response{Body: []string{"answer"}},
		}})
	}
	typed := map[string]proto.Message{"theirs": wrapperspb.String("ann"), "others": wrapperspb.Int64(7)}
	forwarding := func(o sdktest.MetadataOptions) sdktest.Filter {
		return sdktest.Filter{Mode: sdktest.Bodies(sdktest.Buffered), MetadataOptions: o, TypedMetadata: typed, Metadata: metadataOf("theirs", "user", "ann")}
	}
	options := []struct {
		name string
		sdktest.MetadataOptions
	}{
		{"no namespaces", sdktest.MetadataOptions{}},
		{"untyped", sdktest.MetadataOptions{Forward: []string{"theirs", "none"}}},
		{"typed", sdktest.MetadataOptions{ForwardTyped: []string{"theirs", "none"}}},
		{"untyped and typed", sdktest.MetadataOptions{Forward: []string{"theirs"}, ForwardTyped: []string{"theirs", "others"}}},
		{"the cluster's", sdktest.MetadataOptions{ForwardCluster: []string{sdktest.ClusterNamespace}}},
		{"the cluster's as the exchange's", sdktest.MetadataOptions{Forward: []string{sdktest.ClusterNamespace}}},
		{"all", sdktest.MetadataOptions{
			Forward: []string{"theirs"}, ForwardTyped: []string{"theirs"}, ForwardCluster: []string{sdktest.ClusterNamespace, "theirs"},
		}},
	}
	for _, o := range options {
		add("forwarded: "+o.name, script{}.processor(), forwarding(o.MetadataOptions))
		f := forwarding(sdktest.MetadataOptions{Forward: []string{"theirs"}, ForwardTyped: []string{"others"}})
		f.Route = &sdktest.Override{Metadata: &o.MetadataOptions}
		add("forwarded by the route: "+o.name, script{}.processor(), f)
	}
	shadowed := forwarding(sdktest.MetadataOptions{Forward: []string{sdktest.ClusterNamespace}, ForwardCluster: []string{sdktest.ClusterNamespace}})
	shadowed.Metadata = metadataOf(sdktest.ClusterNamespace, "zone", "b")
	add("forwarded: a namespace of the exchange's and the cluster's", script{}.processor(), shadowed)
	return append(all, givenMetadata()...)
}

// givenMetadata: a processor gives metadata, which the inner filter's processor is to see.
func givenMetadata() (all []conform) {
	for _, o := range []struct {
		name string
		sdktest.MetadataOptions
	}{
		{"nothing is received", sdktest.MetadataOptions{}},
		{"untyped is received", sdktest.MetadataOptions{Receive: []string{"mine"}}},
		{"typed is received", sdktest.MetadataOptions{ReceiveTyped: []string{"mine"}}},
		{"both are received", sdktest.MetadataOptions{Receive: []string{"mine"}, ReceiveTyped: []string{"mine"}}},
	} {
		for _, kind := range []string{"request_headers", "request_body", "response_headers", "immediate_response"} {
			for _, byRoute := range []bool{false, true} {
				f := sdktest.Filter{Mode: sdktest.Bodies(sdktest.Buffered), MetadataOptions: o.MetadataOptions}
				name := "given with " + kind + ": " + o.name
				if byRoute {
					f.MetadataOptions, f.Route = sdktest.MetadataOptions{}, &sdktest.Override{Metadata: &o.MetadataOptions}
					name += " on the route"
				}
				if kind != "response_headers" {
					f.Inner = &sdktest.Inner{Processor: showing(), Filter: sdktest.Filter{
						Mode: sdktest.Bodies(sdktest.Buffered), MetadataOptions: sdktest.MetadataOptions{Forward: []string{"mine"}, ForwardTyped: []string{"mine"}},
					}}
				}
				all = append(all, conform{group: "Metadata", name: name, processor: giving(kind), filter: f, request: sdktest.Request{
					Body: []string{"question"}, Upstream: sdktest.Response{Body: []string{"answer"}},
				}})
			}
		}
	}
	return all
}

// giving is a processor that gives metadata with its answer to one kind of message.
func giving(kind string) sdktest.Script {
	value, err := anypb.New(wrapperspb.String("typed"))
	if err != nil {
		panic(err)
	}
	answer := map[string]*outgoing{
		"request_headers": requestHeaders(nil), "request_body": requestBody(nil), "response_headers": responseHeaders(nil),
		"immediate_response": immediate(403, "no"),
	}[kind]
	answer = proto.CloneOf(answer)
	answer.DynamicMetadata = structOf(map[string]any{"mine": map[string]any{"k": "v"}, "other": map[string]any{"k": "v"}})
	answer.TypedDynamicMetadata = map[string]*anypb.Any{"mine": value, "other": value}
	if kind == "immediate_response" {
		kind = "request_headers"
	}
	return script{kind: say(answer)}.processor()
}

// showing is a processor that shows the metadata it sees to the upstream and the client.
func showing() sdktest.Script {
	seen := func(m *incoming) string {
		var out []string
		for ns, value := range m.GetMetadataContext().GetFilterMetadata() {
			out = append(out, ns+" "+value.GetFields()["k"].GetStringValue())
		}
		for ns, value := range m.GetMetadataContext().GetTypedFilterMetadata() {
			text := new(wrapperspb.StringValue)
			_ = value.UnmarshalTo(text)
			out = append(out, ns+" "+text.GetValue())
		}
		return strings.Join(out, ", ")
	}
	return script{
		"request_headers": func(m *incoming) ([]*outgoing, error) {
			return []*outgoing{requestHeaders(withHeaders(&common{}, "x-metadata", seen(m)))}, nil
		},
		"response_headers": func(m *incoming) ([]*outgoing, error) {
			return []*outgoing{responseHeaders(withHeaders(&common{}, "x-metadata", seen(m)))}, nil
		},
	}.processor()
}

// attributeNames are all attributes that Envoy's documentation names, and one that there isn't.
var attributeNames = strings.Fields(`
	request.path request.url_path request.host request.scheme request.method request.headers request.referer request.useragent
	request.time request.id request.protocol request.query request.duration request.size request.total_size
	response.code response.code_details response.flags response.grpc_status response.headers response.trailers response.size
	response.total_size response.backend_latency
	source.address source.port destination.address destination.port
	connection.id connection.mtls connection.requested_server_name connection.tls_version connection.subject_local_certificate
	connection.subject_peer_certificate connection.dns_san_local_certificate connection.dns_san_peer_certificate
	connection.uri_san_local_certificate connection.uri_san_peer_certificate connection.sha256_peer_certificate_digest
	connection.transport_failure_reason connection.termination_details
	upstream.address upstream.port upstream.tls_version upstream.subject_local_certificate upstream.subject_peer_certificate
	upstream.transport_failure_reason upstream.request_attempt_count upstream.cx_pool_ready_duration upstream.locality
	metadata filter_state upstream_filter_state
	xds.node xds.cluster_name xds.cluster_metadata xds.listener_direction xds.listener_metadata xds.route_name xds.route_metadata
	xds.virtual_host_name xds.virtual_host_metadata xds.upstream_host_metadata xds.upstream_host_locality_metadata
	xds.filter_chain_name no.such.attribute`)

// attributeCases: every attribute, on connections of each kind.
func attributeCases() (all []conform) {
	from, to := netip.MustParseAddrPort("203.0.113.9:4711"), netip.MustParseAddrPort("198.51.100.7:443")
	connections := []struct {
		name string
		*sdktest.Connection
	}{
		{"no addresses", nil},
		{"addresses", &sdktest.Connection{Source: from, Destination: to}},
		{"IPv6", &sdktest.Connection{Source: netip.MustParseAddrPort("[2001:db8::9]:4711"), Destination: netip.MustParseAddrPort("[2001:db8::7]:443")}},
		{"TLS", &sdktest.Connection{Source: from, Destination: to, TLS: true, ServerName: sdktest.ServerDNS}},
		{"mutual TLS", &sdktest.Connection{Source: from, Destination: to, TLS: true, Mutual: true, ServerName: sdktest.ServerDNS}},
	}
	// The headers have gone ahead, and how far the upstream's connection has got by then is a race.
	beforehand := slices.DeleteFunc(slices.Clone(attributeNames), func(name string) bool { return strings.Contains(name, "upstream") })
	phases := []struct {
		name              string
		request, response []string
		mode              sdktest.Mode
	}{
		{"with the request", attributeNames, nil, sdktest.Mode{}},
		{"with the response", nil, attributeNames, sdktest.Mode{}},
		{"with the response alone", attributeNames, attributeNames, sdktest.Mode{RequestHeaders: sdktest.Off}},
		{"with the first part of the body", beforehand, nil, sdktest.Mode{RequestHeaders: sdktest.Off, RequestBody: sdktest.Buffered}},
	}
	for _, c := range connections {
		for _, p := range phases {
			all = append(all, conform{
				group: "Attributes", name: c.name + ", " + p.name, processor: script{}.processor(),
				filter: sdktest.Filter{Mode: p.mode, RequestAttributes: p.request, ResponseAttributes: p.response, Connection: c.Connection},
				request: sdktest.Request{Path: "/p?q=1", Header: http.Header{"User-Agent": {"test"}, "Referer": {"https://test.example/"}}, Body: []string{"one"},
					Upstream: sdktest.Response{Status: 404, Body: []string{"two"}}},
			})
		}
	}
	return append(all, shownAttributes(connections[4].Connection))
}

// shownAttributes has the upstream see what the processor saw.
func shownAttributes(c *sdktest.Connection) conform {
	names := []string{
		"source.address", "source.port", "destination.address", "connection.mtls", "connection.requested_server_name", "connection.tls_version",
		"connection.subject_peer_certificate", "connection.dns_san_peer_certificate", "connection.uri_san_peer_certificate", "xds.route_name", "xds.cluster_name",
	}
	return conform{
		group: "Attributes", name: "mutual TLS, as the upstream is told", filter: sdktest.Filter{RequestAttributes: names, Connection: c},
		processor: script{"request_headers": func(m *extprocv3.ProcessingRequest) ([]*outgoing, error) {
			values := m.GetAttributes()["envoy.filters.http.ext_proc"].AsMap()
			return []*outgoing{requestHeaders(withHeaders(&common{}, shown(names, values)...))}, nil
		}}.processor(),
	}
}

// shown are headers that say the values of attributes.
func shown(names []string, values map[string]any) (out []string) {
	for _, name := range names {
		out = append(out, "x-"+strings.ReplaceAll(name, "_", "-"), fmt.Sprint(values[name]))
	}
	return out
}
