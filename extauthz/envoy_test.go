package extauthz_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

const bootstrap = `
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
          route_config:
            request_headers_to_remove: [x-gatehouse-recompute, x-gatehouse-client-ip]
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {match: {prefix: /plan, headers: [{name: x-plan, string_match: {exact: gold}}]}, direct_response: {status: 200, body: {inline_string: gold}}}
              - {match: {prefix: /plan}, direct_response: {status: 200, body: {inline_string: plain}}}
              - {match: {prefix: /}, route: {cluster: upstream}}
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              grpc_service: {envoy_grpc: {cluster_name: authorizer}, timeout: 2s}
              encode_raw_headers: true
              status_on_error: {code: 503}
              clear_route_cache: true
              clear_route_cache_headers: [x-gatehouse-recompute]
              with_request_body: {max_request_bytes: 8, allow_partial_message: true, pack_as_bytes: true}
          - name: envoy.filters.http.rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: DENY
                policies:
                  unsealed:
                    permissions: [{url_path: {path: {exact: /sealed}}}]
                    principals: [{not_id: {metadata: {filter: envoy.filters.http.ext_authz, path: [{key: seal}], value: {string_match: {exact: right}}}}}]
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: upstream
    load_assignment: {cluster_name: upstream, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %[2]d}}}}]}]}
  - name: authorizer
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: authorizer, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %[3]q}}}}]}]}
`

type checkFunc = func(ctx context.Context, r *exchange.Request) (exchange.Verdict, error)

// gateway runs an Envoy in front of upstream that asks check, and returns its address.
func gateway(t *testing.T, upstream http.HandlerFunc, check checkFunc) string {
	t.Helper()
	return gatewayWith(t, bootstrap, upstream, check)
}

func gatewayWith(t *testing.T, bootstrap string, upstream http.HandlerFunc, check checkFunc) string {
	t.Helper()
	dir := envoytest.SocketDir(t)
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(check)), quiet).Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	backend := httptest.NewServer(upstream)
	t.Cleanup(backend.Close)
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(bootstrap, port, backend.Listener.Addr().(*net.TCPAddr).Port, socket))
	return fmt.Sprintf("http://127.0.0.1:%d", port)
}

func send(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func get(t *testing.T, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	return send(t, r)
}

// echo answers with the request's lines of some names, one per line of text.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-From", "upstream")
	for name, values := range r.Header {
		if strings.HasPrefix(name, "X-Test") || strings.HasPrefix(name, "X-Gatehouse") {
			fmt.Fprintf(w, "%s=%s;", name, strings.Join(values, "|"))
		}
	}
}

func TestVerdictsThroughEnvoy(t *testing.T) {
	t.Parallel()
	type fields = []exchange.Field
	verdicts := map[string]exchange.Verdict{
		"/denied":     {},
		"/challenged": {Reply: &exchange.Reply{Code: 401, Header: http.Header{"Www-Authenticate": {"Basic realm=a", "Bearer"}}, Body: []byte("who?")}},
		"/preflight":  {Reply: &exchange.Reply{Code: 204, Header: http.Header{"Access-Control-Max-Age": {"1"}}}},
		"/bad":        {Allow: true, Set: fields{{Name: "x-test", Value: "a\nb"}}},
		"/set":        {Allow: true, Set: fields{{Name: "x-test", Value: "ours"}}},
		"/set-empty":  {Allow: true, Set: fields{{Name: "x-test", Value: ""}}},
		"/set-two":    {Allow: true, Set: fields{{Name: "x-test", Value: "a"}, {Name: "x-test", Value: "b"}}},
		"/add":        {Allow: true, Add: fields{{Name: "x-test", Value: "ours"}}},
		"/add-new":    {Allow: true, Add: fields{{Name: "x-test-new", Value: "a"}, {Name: "x-test-new", Value: "b"}}},
		"/remove":     {Allow: true, Remove: []string{"x-test"}},
		"/response": {Allow: true, ResponseSet: fields{
			{Name: "x-from", Value: "authorizer"}, {Name: "x-two", Value: "a"}, {Name: "x-two", Value: "b"},
		}},
		"/sealed":    {Allow: true, Metadata: map[string]any{"seal": "right"}},
		"/plan/keep": {Allow: true, Set: fields{{Name: "x-plan", Value: "gold"}}},
		"/plan/new":  {Allow: true, Set: fields{{Name: "x-plan", Value: "gold"}}, RecomputeRoute: true},
		"/recompute": {Allow: true, RecomputeRoute: true},
	}
	base := gateway(t, echo, func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
		return verdicts[r.Path()], nil
	})
	for path, want := range map[string]struct {
		status int
		body   string
		header string
	}{
		"/denied":     {403, "access denied", ""},
		"/challenged": {401, "who?", "Www-Authenticate: Basic realm=a|Bearer"},
		"/preflight":  {204, "", "Access-Control-Max-Age: 1"},
		"/bad":        {503, "authorization unavailable", ""},
		"/set":        {200, "X-Test=ours;", ""},
		"/set-empty":  {200, "X-Test=;", ""},
		"/set-two":    {200, "X-Test=a,b;", ""},
		"/add":        {200, "X-Test=theirs,ours;", ""},
		"/add-new":    {200, "X-Test-New=a,b;", ""},
		"/remove":     {200, "", ""},
		"/response":   {200, "X-Test=theirs;", "X-From: authorizer|X-Two: a, b"},
		"/sealed":     {200, "X-Test=theirs;", ""},
		"/plan/keep":  {200, "plain", ""},
		"/plan/new":   {200, "gold", ""},
		"/recompute":  {200, "X-Test=theirs;", ""},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			answer, body := get(t, base+path, http.Header{"X-Test": {"theirs"}, "X-Gatehouse-Recompute": {"1"}})
			if path == "/add-new" {
				body = strings.Replace(body, "X-Test=theirs;", "", 1)
			}
			if answer.StatusCode != want.status || body != want.body {
				t.Errorf("answer %d %q, want %d %q", answer.StatusCode, body, want.status, want.body)
			}
			if want.header == "" {
				return
			}
			for _, name := range []string{"Www-Authenticate", "Access-Control-Max-Age", "X-From", "X-Two"} {
				values := answer.Header.Values(name)
				if text := name + ": " + strings.Join(values, "|"); strings.Contains(want.header, name) && !strings.Contains(want.header+"|", text+"|") {
					t.Errorf("header %q, want %q", text, want.header)
				}
			}
		})
	}
}

func TestSealIsMissingWithoutMetadata(t *testing.T) {
	t.Parallel()
	base := gateway(t, echo, func(context.Context, *exchange.Request) (exchange.Verdict, error) {
		return exchange.Verdict{Allow: true}, nil
	})
	if answer, _ := get(t, base+"/sealed", nil); answer.StatusCode != http.StatusForbidden {
		t.Errorf("status %d", answer.StatusCode)
	}
}

func TestAuthorizerSeesTheRequestAsSent(t *testing.T) {
	t.Parallel()
	requests := make(chan *exchange.Request, 1)
	base := gateway(t, echo, func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
		requests <- r
		return exchange.Verdict{Allow: true}, nil
	})
	for name, c := range map[string]struct {
		body string
		want error
	}{"whole body": {"12345678", nil}, "longer body": {"123456789", exchange.ErrTooLarge}, "no body": {"", nil}} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/p?q=1", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"X-Test": {"a", "b"}, "X-Raw": {"\xff\xfe"}, "Cookie": {"a=b", "c=d"}, "X-Gatehouse-Client-Ip": {"192.0.2.1"}}
		send(t, r)
		got := <-requests
		if got.Method() != "POST" || got.Path() != "/p?q=1" || got.Scheme() != "http" || got.Head().Protocol != "HTTP/1.1" || got.Head().Time.IsZero() {
			t.Errorf("%s: head %+v", name, got.Head())
		}
		if !slices.Equal(got.Header.Values("x-test"), []string{"a", "b"}) || got.Header.Get("x-raw") != "\xff\xfe" || len(got.Header.Values("cookie")) != 2 {
			t.Errorf("%s: header %v", name, got.Header.HTTP())
		}
		if !got.Conn().Client.IsLoopback() || got.Conn().Peer.Port() == 0 || got.Header.Has("x-gatehouse-client-ip") {
			t.Errorf("%s: connection %+v", name, got.Conn())
		}
		if body, err := got.Body.Bytes(100); !errors.Is(err, c.want) || err == nil && string(body) != c.body {
			t.Errorf("%s: body %q, %v", name, body, err)
		}
	}
}

// TestS19EnvoyWithoutRawHeaders: the user's own Envoy may join what the client sent apart.
func TestS19EnvoyWithoutRawHeadersIsServedWhereItIsUnambiguous(t *testing.T) {
	t.Parallel()
	joined := strings.Replace(bootstrap, "encode_raw_headers: true", "encode_raw_headers: false", 1)
	base := gatewayWith(t, joined, echo, func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
		return exchange.Verdict{Allow: r.Header.Get("x-test") == "a,b" && r.Path() == "/p"}, nil
	})
	for want, header := range map[int]http.Header{
		200: {"X-Test": {"a", "b"}, "Cookie": {"a=b; c=d"}, "Authorization": {"Bearer x"}},
		503: {"X-Test": {"a", "b"}, "Authorization": {"Bearer x", "Bearer y"}},
	} {
		if answer, _ := get(t, base+"/p", header); answer.StatusCode != want {
			t.Errorf("status %d, want %d", answer.StatusCode, want)
		}
	}
	// Envoy joins cookies by a comma too.
	if answer, _ := get(t, base+"/p", http.Header{"X-Test": {"a", "b"}, "Cookie": {"a=b", "c=d"}}); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("two cookie lines: %d", answer.StatusCode)
	}
}

// TestS19RawPathBytes: what Envoy makes printable for the attributes would be judged as another path.
func TestS19BytesThatEnvoyMakesPrintableAreNotJudged(t *testing.T) {
	t.Parallel()
	base := gateway(t, echo, func(context.Context, *exchange.Request) (exchange.Verdict, error) {
		return exchange.Verdict{Allow: true}, nil
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /\xff HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 503")) && !bytes.HasPrefix(answer, []byte("HTTP/1.1 400")) {
		t.Errorf("answer %q, %v", answer, err)
	}
}

func TestGRPCCallersGetAGRPCStatus(t *testing.T) {
	t.Parallel()
	base := gateway(t, echo, func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
		code, err := strconv.Atoi(r.Path()[1:])
		if err != nil {
			return exchange.Verdict{}, err
		}
		return exchange.Verdict{Reply: exchange.Deny(code, "who?")}, nil
	})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	for path, want := range map[string]string{"/401": "16", "/403": "7", "/429": "14", "/503": "14"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, bytes.NewReader(make([]byte, 5)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/grpc")
		answer, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Grpc-Status") != want || answer.Header.Get("Grpc-Message") != "who?" {
			t.Errorf("%s: answer %d %v", path, answer.StatusCode, answer.Header)
		}
	}
}

// TestHungAuthorizerDenies: also one that allows because it was interrupted.
func TestHungAuthorizerDenies(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	base := gateway(t, echo, func(ctx context.Context, _ *exchange.Request) (exchange.Verdict, error) {
		<-ctx.Done()
		close(released)
		return exchange.Verdict{Allow: true}, nil
	})
	if answer, _ := get(t, base+"/", nil); answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status %d", answer.StatusCode)
	}
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Error("the authorizer's context outlives Envoy's deadline")
	}
}
