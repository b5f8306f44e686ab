package sdk_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// upstreamChain has the filter behind the router, in the chain of the upstream's cluster.
var upstreamChain = strings.Replace(envoytest.HTTP(""), "  - name: upstream\n", `  - name: upstream
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {}}
        http_filters:
        - name: envoy.filters.http.ext_proc
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
            grpc_service: {envoy_grpc: {cluster_name: extension}, initial_metadata: [{key: x-gatehouse-extproc, value: "v=1; override"}]}
            message_timeout: 10s
            allow_mode_override: true
        - name: envoy.filters.http.upstream_codec
          typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec}
`, 1)

// TestRepliesFromTheUpstreamsChainArrive: an immediate answer of a filter behind the router, in whichever phase,
// reaches the client (envoyproxy/envoy#41231).
func TestRepliesFromTheUpstreamsChainArrive(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
	}))
	t.Cleanup(upstream.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+socket, sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		switch x.Request.Path() {
		case "/headers":
			return sdk.Deny(http.StatusForbidden, "no")
		case "/body":
			if body, err := x.Request.Body.Bytes(100); err != nil || string(body) != "hello" {
				return fmt.Errorf("%q: %w", body, err)
			}
			return sdk.Deny(http.StatusForbidden, "no")
		}
		if _, err := x.Next(ctx); err != nil {
			return err
		}
		if x.Request.Path() == "/response" {
			return sdk.Deny(http.StatusForbidden, "no")
		}
		return nil
	}))
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(upstreamChain, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	for path, want := range map[string]string{"/headers": "403 no", "/body": "403 no", "/response": "403 no", "/pass": "200 hello"} {
		answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d%s", port, path), "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if got := fmt.Sprintf("%d %s", answer.StatusCode, strings.TrimSpace(string(body))); got != want || err != nil {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
}
