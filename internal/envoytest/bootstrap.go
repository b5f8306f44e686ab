package envoytest

import "strings"

// HTTP is a bootstrap of a listener whose requests pass the filters on their way to an upstream. It is a
// format for [fmt.Sprintf] with the listener's port and the upstream's, both on 127.0.0.1, and the path of
// the Unix socket behind the cluster "extension", which speaks gRPC. filters are items of a list in YAML,
// the router excepted.
func HTTP(filters string) string {
	var indented strings.Builder
	for line := range strings.Lines(strings.Trim(filters, "\n") + "\n") {
		indented.WriteString("          " + line)
	}
	return strings.Replace(listening, "          FILTERS\n", indented.String(), 1)
}

const listening = `
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: %[1]d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: upstream, timeout: 120s}}]}]}
          http_filters:
          FILTERS
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: upstream
    load_assignment: {cluster_name: upstream, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %[2]d}}}}]}]}
  - name: extension
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {connection_keepalive: {interval: 1s, timeout: 5s}}}
    load_assignment: {cluster_name: extension, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %[3]q}}}}]}]}
`
