package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAuthChoosesByExtProc: by the initial metadata of a route, or by an attribute of the same name, which here is
// the route's own name.
func TestAuthChoosesByExtProc(t *testing.T) {
	t.Parallel()
	backend, port, state := gatewaytest.NewBackend(t, "b"), freePort(t), envoytest.SocketDir(t)
	file := writeFile(t, strings.Join([]string{usersManifest, policyManifest("named", basicSpec+corsSpec), policyManifest("fallback", officeOrLoopback)}, "\n---\n"))
	socket := filepath.Join(state, "auth.sock")
	startAuth(t, "-f", file, "--listen", "unix:"+socket, "--default-policy", "default/fallback")
	gatewaytest.Eventually(t, "socket", func() error { _, err := os.Stat(socket); return err })
	const kind = `"@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.`
	route := func(path, name, overrides string) string {
		return "\n              - {name: " + name + ", match: {prefix: " + path + "}, route: {cluster: backend}, typed_per_filter_config: {gatehouse: {" +
			kind + "ExtProcPerRoute, overrides: {" + overrides + "}}}}"
	}
	initial := func(values ...string) string {
		all := []string{"{key: gatehouse.client-address, value: header}"}
		for _, value := range values {
			all = append(all, "{key: gatehouse.policy, value: "+value+"}")
		}
		return "grpc_initial_metadata: [" + strings.Join(all, ", ") + "]"
	}
	const attribute = `processing_request_modifier: {name: policy, typed_config: {
                "@type": type.googleapis.com/envoy.extensions.http.ext_proc.processing_request_modifiers.mapped_attribute_builder.v3.MappedAttributeBuilder,
                mapped_request_attributes: {gatehouse.policy: xds.route_name, source.address: source.address}}}`
	own := ownEnvoy(port, backend.Port, socket)
	from, to := strings.Index(own, "              - match: {prefix: /named}"), strings.Index(own, "          http_filters:")
	filters, end := strings.Index(own, "          - name: envoy.filters.http.ext_authz"), strings.Index(own, "          - name: envoy.filters.http.router")
	own = own[:from] + strings.TrimPrefix(route("/named", "a", initial("default/named"))+route("/unknown", "b", initial("default/nowhere"))+
		route("/attribute", "default/named", attribute)+route("/strange", "default/nowhere", attribute)+route("/both", "default/fallback", initial("default/named")+", "+attribute)+
		route("/", "none", initial()), "\n") + "\n" + own[to:filters] + `
          - name: client_address
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
              mutations: {request_mutations: [{append: {append_action: OVERWRITE_IF_EXISTS_OR_ADD, header: {key: x-gatehouse-client-ip, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}}]}
          - name: gatehouse
            typed_config:
              ` + kind + `ExternalProcessor
              grpc_service: {envoy_grpc: {cluster_name: gatehouse}}
              message_timeout: 2s
              status_on_error: {code: ServiceUnavailable}
              processing_mode: {response_header_mode: SEND}
              request_attributes: [source.address]
` + own[end:]
	envoytest.Start(t, own)
	for name, test := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"named":                         {"/named", nil, 401},
		"named, password":               {"/named", []string{basicAlice}, 200},
		"a header can't choose":         {"/named", []string{"gatehouse.policy: default/fallback"}, 401},
		"unknown":                       {"/unknown", []string{basicAlice}, 503},
		"by an attribute":               {"/attribute", nil, 401},
		"by an attribute, password":     {"/attribute", []string{basicAlice}, 200},
		"an attribute of no policy":     {"/strange", []string{basicAlice}, 503},
		"metadata before the attribute": {"/both", nil, 401},
		"the default policy":            {"/x", nil, 200},
	} {
		if a := gatewaytest.Get(t, at(port, test.path), test.header...); a.Status != test.want {
			t.Errorf("%s: %d, want %d: %s", name, a.Status, test.want, a.Body)
		}
	}
	checkCORS(t, "200", gatewaytest.Get(t, at(port, "/attribute"), basicAlice, origin).Header)
	checkCORS(t, "401", gatewaytest.Get(t, at(port, "/attribute"), origin).Header)

	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for want, names := range map[typev3.StatusCode][]string{
		typev3.StatusCode_Unauthorized: {"default/named"}, typev3.StatusCode_ServiceUnavailable: {"default/named", "default/fallback"},
	} {
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{"gatehouse.policy": names})
		stream, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx)
		if err != nil {
			t.Fatal(err)
		}
		err = stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{
			EndOfStream: true, Headers: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: ":method", RawValue: []byte("GET")}, {Key: ":path", RawValue: []byte("/")}}},
		}}})
		answer, failed := stream.Recv()
		if got := answer.GetImmediateResponse().GetStatus().GetCode(); err != nil || failed != nil || got != want {
			t.Errorf("%q: %v, want %v; %v %v", names, got, want, err, failed)
		}
	}
}
