package sdk

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// EnvoyConfig returns what to paste into the configuration of an Envoy that is to call p, which [Serve] serves
// at addr, as YAML: http_filters (ext_authz for an [Authorizer], ext_proc for a [Processor], both for what is
// both), to stand before the router's, and the cluster that they call. The ext_proc filter gives p whatever it
// needs, as far as p declares it ([Declare]): bodies by overrides, which serve every processor, namespaces and
// attributes by name; and it tells p so. Both filters fail closed. A server with TLS wants a transport_socket
// in the cluster, too.
//
// An error says that p is neither, or that addr is no address.
func EnvoyConfig(addr string, p any) (string, error) {
	discovery, endpoint, err := endpointOf(addr)
	if err != nil {
		return "", err
	}
	processor, ofProcessor := p.(Processor)
	_, ofAuthorizer := p.(Authorizer)
	var out strings.Builder
	out.WriteString("http_filters:\n")
	if ofAuthorizer {
		out.WriteString(authzFilter)
	}
	switch {
	case ofProcessor:
		writeProcFilter(&out, exchange.NeedsOf(processor))
	case !ofAuthorizer:
		return "", fmt.Errorf("envoy config: %T is neither a Processor nor an Authorizer", p)
	}
	fmt.Fprintf(&out, cluster, discovery, endpoint)
	return out.String(), nil
}

// endpointOf is an address as Envoy has it, and the type of cluster that finds it. One that is listened on
// everywhere is called at loopback.
func endpointOf(addr string) (discovery, endpoint string, err error) {
	const static, byName = "STATIC", "STRICT_DNS"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return static, fmt.Sprintf("{pipe: {path: %q}}", path), nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", fmt.Errorf("envoy config: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", "", errors.New("envoy config: the port must be a number from 1 to 65535")
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && !ip.IsUnspecified():
		discovery, host = static, ip.String()
	case err == nil, host == "", host == "localhost":
		discovery, host = static, "127.0.0.1"
	default:
		discovery = byName
	}
	return discovery, fmt.Sprintf("{socket_address: {address: %q, port_value: %d}}", host, n), nil
}

const authzFilter = `- name: envoy.filters.http.ext_authz
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
    transport_api_version: V3
    grpc_service:
      envoy_grpc: {cluster_name: extension}
      timeout: 1s
      retry_policy: {retry_on: "refused-stream,connect-failure", num_retries: 2} # what no server has seen
    encode_raw_headers: true # else repeated headers come joined, and some bytes as "!"
    include_peer_certificate: true
    status_on_error: {code: 503}
`

// The times of the filter that is printed: the first connection is made within the first, too.
const (
	printedTimeout    = "1s"
	printedMaxTimeout = "10s"
)

const cluster = `clusters:
- name: extension
  type: %s
  connect_timeout: 1s
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: {http2_protocol_options: {}}
  load_assignment:
    cluster_name: extension
    endpoints: [{lb_endpoints: [{endpoint: {address: %s}}]}]
`

// writeProcFilter writes the ext_proc filter for a processor with these needs.
func writeProcFilter(out *strings.Builder, n Needs) {
	told := []string{"v=1", "override", "timeout=" + printedTimeout, "max-timeout=" + printedMaxTimeout, "keep-alive"}
	if n.Routing {
		told = append(told, "mutate-all")
	}
	if len(n.Metadata) > 0 {
		told = append(told, "untyped="+strings.Join(n.Metadata, ","))
	}
	if len(n.TypedMetadata) > 0 {
		told = append(told, "typed="+strings.Join(n.TypedMetadata, ","))
	}
	fmt.Fprintf(out, `- name: envoy.filters.http.ext_proc
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
    grpc_service:
      envoy_grpc: {cluster_name: extension}
      retry_policy: {retry_on: "refused-stream,connect-failure", num_retries: 2} # what no server has seen
      initial_metadata: [{key: x-gatehouse-extproc, value: %q}] # what the protocol doesn't tell the server
    message_timeout: %s
    max_message_timeout: %s
    allow_mode_override: true
    status_on_error: {code: 503}
`, strings.Join(told, "; "), printedTimeout, printedMaxTimeout)
	if n.Routing {
		out.WriteString("    mutation_rules: {allow_all_routing: true, allow_envoy: true}\n")
	}
	writeNames(out, "    request_attributes: ", n.RequestAttributes)
	writeNames(out, "    response_attributes: ", n.ResponseAttributes)
	writes, reads := namespacesOf(n.Metadata, n.TypedMetadata), namespacesOf(n.Reads, n.ReadsTyped)
	if writes != "" || reads != "" {
		out.WriteString("    metadata_options:\n")
	}
	if writes != "" {
		fmt.Fprintf(out, "      receiving_namespaces: %s\n", writes)
	}
	if reads != "" {
		fmt.Fprintf(out, "      forwarding_namespaces: %s\n", reads)
	}
}

func writeNames(out *strings.Builder, field string, names []string) {
	if len(names) > 0 {
		fmt.Fprintf(out, "%s%s\n", field, quoted(names))
	}
}

// namespacesOf is a MetadataNamespaces, "" for none.
func namespacesOf(untyped, typed []string) string {
	var lists []string
	if len(untyped) > 0 {
		lists = append(lists, "untyped: "+quoted(untyped))
	}
	if len(typed) > 0 {
		lists = append(lists, "typed: "+quoted(typed))
	}
	if lists == nil {
		return ""
	}
	return "{" + strings.Join(lists, ", ") + "}"
}

func quoted(names []string) string {
	list := make([]string, len(names))
	for i, name := range names {
		list[i] = strconv.Quote(name)
	}
	return "[" + strings.Join(list, ", ") + "]"
}
