package extproc_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

var quiet = extproc.WithLogger(slog.New(slog.DiscardHandler))

const bootstrap = `
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: %[1]d}}
    per_connection_buffer_limit_bytes: 4194304
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          upgrade_configs: [{upgrade_type: websocket}]
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {match: {prefix: /moved}, direct_response: {status: 200, body: {inline_string: moved}}}
              - {match: {prefix: /ws}, route: {cluster: upstream1}}
              - {match: {prefix: /}, route: {cluster: upstream}}
          http_filters:
          - name: earlier
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: DENY
                policies: {blocked: {permissions: [{url_path: {path: {prefix: /blocked}}}], principals: [{any: true}]}}
          - name: envoy.filters.http.ext_proc
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
              grpc_service: {envoy_grpc: {cluster_name: processor}, timeout: 30s}
              message_timeout: 10s
              request_attributes: [source.address, request.protocol]
              metadata_options: {receiving_namespaces: {untyped: [gatehouse]}}
              %[4]s
          - name: later
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: DENY
                policies:
                  unsealed:
                    permissions: [{url_path: {path: {prefix: /sealed}}}]
                    principals: [{not_id: {metadata: {filter: gatehouse, path: [{key: seal}], value: {string_match: {exact: right}}}}}]
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: upstream
    per_connection_buffer_limit_bytes: 4194304
    typed_extension_protocol_options: &http2
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: upstream, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %[2]d}}}}]}]}
  - name: upstream1
    load_assignment: {cluster_name: upstream1, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %[2]d}}}}]}]}
  - name: processor
    typed_extension_protocol_options: *http2
    load_assignment: {cluster_name: processor, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %[3]q}}}}]}]}
`

// filter is the ext_proc filter's configuration for one body mode in both directions.
func filter(mode string) string {
	extra := ""
	if mode == "STREAMED no-wait" {
		mode, extra = "STREAMED", ", send_body_without_waiting_for_header_response: true"
	}
	return strings.Replace(fmt.Sprintf("processing_mode: {request_body_mode: %s, response_body_mode: %s, request_trailer_mode: SEND, response_trailer_mode: SEND}%s",
		mode, mode, extra), ", send_body", "\n              send_body", 1)
}

// gateway is an Envoy with the filter in front of an upstream.
type gateway struct {
	url    string
	envoy  *envoytest.Envoy
	server *grpc.Server
	served *extproc.Server
}

// start runs a gateway whose filter asks p.
func start(t *testing.T, filter string, upstream http.Handler, p exchange.ProcessorFunc, opts ...extproc.Option) gateway {
	t.Helper()
	return startWith(t, filter, upstream, p, opts...)
}

func startWith(t *testing.T, filter string, upstream http.Handler, p exchange.Processor, opts ...extproc.Option) gateway {
	t.Helper()
	dir := envoytest.SocketDir(t)
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	served := extproc.NewServer(p, append([]extproc.Option{quiet}, opts...)...)
	served.Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	backend := httptest.NewUnstartedServer(upstream)
	backend.Config.Protocols = new(http.Protocols)
	backend.Config.Protocols.SetHTTP1(true)
	backend.Config.Protocols.SetUnencryptedHTTP2(true)
	backend.Start()
	t.Cleanup(backend.Close)
	port := envoytest.FreePort(t)
	envoy := envoytest.Start(t, fmt.Sprintf(bootstrap, port, backend.Listener.Addr().(*net.TCPAddr).Port, socket, filter))
	return gateway{url: fmt.Sprintf("http://127.0.0.1:%d", port), envoy: envoy, server: server, served: served}
}

// client speaks HTTP/2 to Envoy, for trailers in both directions.
func client(t *testing.T) *http.Transport {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// client1 speaks HTTP/1.1, where a body of unknown length is chunked.
func client1(t *testing.T) *http.Transport {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// post returns the answer to a POST, whose body the caller closes. It may be called from any goroutine: nil
// says that there is no answer, which the test has been told.
func (g gateway) post(t *testing.T, by http.RoundTripper, body io.Reader, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+"/", body)
	if err != nil {
		t.Error(err)
		return nil
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	answer, err := by.RoundTrip(r)
	if err != nil {
		t.Errorf("%q: %v", header, err)
		return nil
	}
	return answer
}

// get returns the answer to a GET with its body read.
func (g gateway) get(t *testing.T, path string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	answer, err := client(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	return answer, string(body)
}
