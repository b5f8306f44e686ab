package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

// authorized is a listener whose requests one filter authorizes; the rest is the same for all.
const authorized = `
  - name: %[1]s
    address: {socket_address: {address: 127.0.0.1, port_value: %[2]d}}
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
          - %[3]s
          - name: later
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
              rules:
                action: DENY
                policies:
                  unsealed:
                    permissions: [{url_path: {path: {prefix: /sealed}}}]
                    principals: [{not_id: {metadata: {filter: %[4]s, path: [{key: seal}], value: {string_match: {exact: right}}}}}]
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

const byExtAuthz = `{name: envoy.filters.http.ext_authz, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz,
            transport_api_version: V3, encode_raw_headers: true, status_on_error: {code: 503},
            grpc_service: {envoy_grpc: {cluster_name: authorizer}, timeout: 20s},
            clear_route_cache: true, clear_route_cache_headers: [x-gatehouse-recompute],
            with_request_body: {max_request_bytes: 1000, allow_partial_message: true, pack_as_bytes: true}}}`

const byExtProc = `{name: envoy.filters.http.ext_proc, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor,
            grpc_service: {envoy_grpc: {cluster_name: authorizer}, initial_metadata: [{key: x-gatehouse-extproc, value: "v=1; override; untyped=gatehouse"}]},
            message_timeout: 20s, allow_mode_override: true, status_on_error: {code: 503},
            request_attributes: [source.address, destination.address, request.protocol, request.time],
            metadata_options: {receiving_namespaces: {untyped: [gatehouse]}}}}`

// authorizedBy starts one Envoy with a listener for each transport, in front of one upstream.
func authorizedBy(t *testing.T, a exchange.AuthorizerFunc, upstream http.HandlerFunc) map[string]string {
	t.Helper()
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	extauthz.NewServer(extauthz.Always(a), extauthz.WithLogger(slog.New(slog.DiscardHandler))).Register(server)
	extproc.NewServer(extproc.Authorize(extauthz.Always(a), quiet), quiet).Register(server)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	backend := httptest.NewServer(upstream)
	t.Cleanup(backend.Close)
	ports := [2]int{envoytest.FreePort(t), envoytest.FreePort(t)}
	envoytest.Start(t, "static_resources:\n  listeners:"+
		fmt.Sprintf(authorized, "ext_authz", ports[0], byExtAuthz, "envoy.filters.http.ext_authz")+
		fmt.Sprintf(authorized, "ext_proc", ports[1], byExtProc, "gatehouse")+
		fmt.Sprintf(`
  clusters:
  - name: upstream
    load_assignment: {cluster_name: upstream, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}
  - name: authorizer
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: authorizer, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %q}}}}]}]}
`, backend.Listener.Addr().(*net.TCPAddr).Port, socket))
	return map[string]string{
		"ext_authz": fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		"ext_proc":  fmt.Sprintf("http://127.0.0.1:%d", ports[1]),
	}
}

type fields = []exchange.Field

// authorizers are those of the table, by path.
func authorizers() map[string]func(*exchange.Request) (exchange.Verdict, error) {
	is := func(v exchange.Verdict) func(*exchange.Request) (exchange.Verdict, error) {
		return func(*exchange.Request) (exchange.Verdict, error) { return v, nil }
	}
	allow := func(v exchange.Verdict) func(*exchange.Request) (exchange.Verdict, error) {
		v.Allow = true
		return is(v)
	}
	fails := func(err error) func(*exchange.Request) (exchange.Verdict, error) {
		return func(*exchange.Request) (exchange.Verdict, error) { return exchange.Verdict{Allow: true}, err }
	}
	return map[string]func(*exchange.Request) (exchange.Verdict, error){
		"/zero":       is(exchange.Verdict{}),
		"/allow":      allow(exchange.Verdict{}),
		"/challenged": is(exchange.Verdict{Reply: &exchange.Reply{Code: 401, Header: http.Header{"Www-Authenticate": {"Basic realm=a", "Bearer"}}, Body: []byte("who?")}}),
		"/preflight":  is(exchange.Verdict{Reply: &exchange.Reply{Code: 204, Header: http.Header{"Access-Control-Max-Age": {"1"}}}}),
		"/no-status":  is(exchange.Verdict{Reply: &exchange.Reply{Body: []byte("oops")}}),
		"/both":       allow(exchange.Verdict{Reply: exchange.Deny(401, "no")}),
		"/both-ways":  allow(exchange.Verdict{Set: fields{{Name: "x-test", Value: "a"}}, Remove: []string{"X-Test"}}),
		"/break":      allow(exchange.Verdict{Set: fields{{Name: "x-test", Value: "a\nb"}}}),
		"/no-utf8":    allow(exchange.Verdict{Set: fields{{Name: "x-test", Value: "\xff"}}}),
		"/no-name":    allow(exchange.Verdict{Remove: []string{"a b"}}),
		"/bad-value":  allow(exchange.Verdict{Metadata: map[string]any{"a": struct{}{}}}),
		"/set":        allow(exchange.Verdict{Set: fields{{Name: "X-Test", Value: "ours"}}}),
		"/set-empty":  allow(exchange.Verdict{Set: fields{{Name: "x-test", Value: ""}}}),
		"/set-two":    allow(exchange.Verdict{Set: fields{{Name: "x-test", Value: "a"}, {Name: "x-test", Value: "b"}}}),
		"/set-add":    allow(exchange.Verdict{Set: fields{{Name: "x-test", Value: "a"}}, Add: fields{{Name: "x-test", Value: "b"}}}),
		"/add":        allow(exchange.Verdict{Add: fields{{Name: "x-test", Value: "ours"}}}),
		"/add-new":    allow(exchange.Verdict{Add: fields{{Name: "x-test-new", Value: "a"}, {Name: "x-test-new", Value: "b"}}}),
		"/remove":     allow(exchange.Verdict{Remove: []string{"X-Test", "x-absent"}}),
		"/query?a=1":  allow(exchange.Verdict{Set: fields{{Name: ":path", Value: "/query?b=2"}}}),
		"/response":   allow(exchange.Verdict{ResponseSet: fields{{Name: "x-from", Value: "authorizer"}, {Name: "x-two", Value: "a"}, {Name: "x-two", Value: "b"}, {Name: "vary", Value: "origin"}, {Name: "set-cookie", Value: "a=1"}, {Name: "set-cookie", Value: "b=2"}}}),
		"/sealed":     allow(exchange.Verdict{Metadata: map[string]any{"seal": "right", "n": 1.0, "list": []any{"a", nil}}}),
		"/sealed/no":  allow(exchange.Verdict{Metadata: map[string]any{"seal": "wrong"}}),
		"/plan/keep":  allow(exchange.Verdict{Set: fields{{Name: "x-plan", Value: "gold"}}}),
		"/plan/new":   allow(exchange.Verdict{Set: fields{{Name: "x-plan", Value: "gold"}}, RecomputeRoute: true}),
		"/plan/path":  allow(exchange.Verdict{Set: fields{{Name: ":path", Value: "/elsewhere"}}, RecomputeRoute: true}),
		"/recompute":  allow(exchange.Verdict{RecomputeRoute: true}),
		"/error":      fails(errBoom),
		"/reply":      fails(exchange.Deny(418, "tea")),
		"/large":      fails(exchange.ErrTooLarge),
		"/panic":      func(*exchange.Request) (exchange.Verdict, error) { panic("boom") },
		"/body":       withBody(func(b *exchange.Body) ([]byte, error) { return b.Bytes(100) }),
		"/read":       withBody(func(b *exchange.Body) ([]byte, error) { return io.ReadAll(b) }),
		"/limit":      withBody(func(b *exchange.Body) ([]byte, error) { return b.Bytes(3) }),
		"/observe": withBody(func(b *exchange.Body) (seen []byte, err error) {
			b.Observe(func(src io.Reader) error { seen, err = io.ReadAll(src); return err })
			return seen, err
		}),
		"/observe-fails": withBody(func(b *exchange.Body) ([]byte, error) {
			b.Observe(func(io.Reader) error { return errBoom })
			return nil, nil
		}),
		"/transform": withBody(func(b *exchange.Body) ([]byte, error) {
			b.Transform(func(dst io.Writer, _ io.Reader) error { _, err := io.WriteString(dst, "another"); return err })
			return b.Bytes(100)
		}),
		"/edits": func(r *exchange.Request) (exchange.Verdict, error) {
			r.Header.Set("x-test", "an authorizer's edit of its request has no effect")
			r.Header.Del("x-test-two")
			r.SetPath("/nowhere", true)
			r.Body.Set([]byte("nothing"))
			return exchange.Verdict{Allow: true}, nil
		},
		"/seen?q": func(r *exchange.Request) (exchange.Verdict, error) {
			c := r.Conn()
			loop := netip.MustParseAddr("127.0.0.1")
			text := fmt.Sprint(r.Method(), r.Path(), r.Scheme(), r.Head().Protocol, r.Head().Size, r.Header.Values("x-test"), r.Header.Get("x-raw") == "\xff\xfe",
				c.Client, c.Peer.Addr() == loop, c.Peer.Port() > 0, c.Destination.Addr() == loop, r.Header.Has("x-gatehouse-client-ip"),
				time.Since(r.Head().Time) < time.Minute, r.Authority() != "", r.Header.Has(":path"))
			return exchange.Verdict{Reply: &exchange.Reply{Code: 400, Body: []byte(text)}}, nil
		},
	}
}

func withBody(read func(*exchange.Body) ([]byte, error)) func(*exchange.Request) (exchange.Verdict, error) {
	return func(r *exchange.Request) (exchange.Verdict, error) {
		body, err := read(&r.Body)
		return exchange.Verdict{Allow: true, Set: fields{{Name: "x-test", Value: fmt.Sprintf("%q", body)}}}, err
	}
}

// TestVerdictsAreTheSameByEitherTransport sends every request of the table through ext_authz and through
// ext_proc: the client and the upstream must see the same.
func TestVerdictsAreTheSameByEitherTransport(t *testing.T) {
	t.Parallel()
	table := authorizers()
	var mu sync.Mutex
	reached := map[string]string{}
	urls := authorizedBy(t, func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
		v, ok := table[r.Path()]
		if !ok {
			return exchange.Verdict{}, errors.New("no such path")
		}
		return v(r)
	}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		text := r.Method + " " + r.RequestURI + " " + string(body)
		for _, name := range []string{"X-Test", "X-Test-Two", "X-Test-New", "X-Gatehouse-Recompute", "X-Gatehouse-Client-Ip"} {
			text += " " + name + "=" + strings.Join(r.Header.Values(name), ",") // lines of a list may be joined (RFC 9110 section 5.3)
		}
		mu.Lock()
		reached[r.Header.Get("X-Case")] = text
		mu.Unlock()
		w.Header().Set("X-From", "upstream")
		w.Header().Set("Vary", "Accept")
		_, _ = io.WriteString(w, "hello")
	})
	statuses := map[string]int{"/zero": 403, "/allow": 200, "/challenged": 401, "/preflight": 204, "/no-status": 500, "/both": 503,
		"/both-ways": 503, "/break": 503, "/no-utf8": 503, "/no-name": 503, "/bad-value": 503, "/sealed/no": 403, "/error": 503,
		"/reply": 418, "/large": 413, "/panic": 503, "/limit": 413, "/observe-fails": 503, "/seen?q": 400}
	for path := range table {
		for _, body := range []string{"", "a body"} {
			t.Run(path+" "+body, func(t *testing.T) {
				t.Parallel()
				outcomes := map[string]string{}
				for transport, url := range urls {
					id := transport + path + body
					status, text := outcome(t, url+path, id, body)
					mu.Lock()
					arrived := reached[id]
					mu.Unlock()
					outcomes[transport] = text + "\nupstream: " + arrived
					want, denied := statuses[path], true
					if want == 0 {
						want, denied = http.StatusOK, false
					}
					if path == "/limit" && body == "" || path == "/allow" {
						want, denied = http.StatusOK, false
					}
					if status != want {
						t.Errorf("%s: status %d, want %d", transport, status, want)
					}
					if direct := strings.HasPrefix(path, "/plan"); !direct && denied == (arrived != "") {
						t.Errorf("%s: upstream got %q", transport, arrived)
					}
				}
				if outcomes["ext_authz"] != outcomes["ext_proc"] {
					t.Errorf("by ext_authz: %s\nby ext_proc: %s", outcomes["ext_authz"], outcomes["ext_proc"])
				}
			})
		}
	}
}

// outcome is what the client sees of a request.
func outcome(t *testing.T, url, id, body string) (int, string) {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"X-Case": {id}, "X-Test": {"theirs"}, "X-Test-Two": {"a", "b"}, "X-Raw": {"\xff\xfe"},
		"X-Gatehouse-Client-Ip": {"192.0.2.1"}, "X-Gatehouse-Recompute": {"1"}}
	answer, err := client1(t).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%d %q", answer.StatusCode, got)
	for _, name := range []string{"Www-Authenticate", "Access-Control-Max-Age", "X-From", "X-Two", "Vary", "Set-Cookie", "Content-Type", "Content-Length"} {
		text += fmt.Sprintf(" %s=%q", name, answer.Header.Values(name))
	}
	return answer.StatusCode, text
}
