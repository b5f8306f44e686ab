package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// traced has an Envoy trace all requests, and send its spans to c at once.
func traced(t *testing.T, bootstrap string, c *collector) string {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal([]byte(bootstrap), &all); err != nil {
		t.Fatal(err)
	}
	all["layered_runtime"] = map[string]any{"layers": []any{map[string]any{"name": "test", "static_layer": map[string]any{
		"tracing.opentelemetry.min_flush_spans": 1, "tracing.opentelemetry.flush_interval_ms": 50,
	}}}}
	static := all["static_resources"].(map[string]any)
	var cluster any
	decode(t, fmt.Sprintf(`{"name": "collector", "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
		"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}},
		"load_assignment": {"cluster_name": "collector", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": %d}}}}]}]}}`, c.port), &cluster)
	static["clusters"] = append(static["clusters"].([]any), cluster)
	chain := static["listeners"].([]any)[0].(map[string]any)["filter_chains"].([]any)[0].(map[string]any)
	manager := chain["filters"].([]any)[0].(map[string]any)["typed_config"].(map[string]any)
	var tracing any
	decode(t, `{"provider": {"name": "envoy.tracers.opentelemetry", "typed_config": {"@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
		"service_name": "edge", "grpc_service": {"timeout": "5s", "envoy_grpc": {"cluster_name": "collector"}}}}}`, &tracing)
	manager["tracing"] = tracing
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// clientSpan is a client's own, in each trace of traceOf.
const clientSpan = "b7ad6b7169203331"

// traceOf returns a trace's id.
func traceOf(n int) string { return fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e%04x", n+1) }

// TestChecksAreSpansOfEnvoysTrace: where Envoy traces, a request, Envoy's question and the authorizer's check
// are one trace, by either protocol. What Envoy says wins over what the client says.
func TestChecksAreSpansOfEnvoysTrace(t *testing.T) {
	t.Parallel()
	backend, port, state, c := gatewaytest.NewBackend(t, "b"), freePort(t), envoytest.SocketDir(t), newCollector(t)
	file := writeFile(t, strings.Join([]string{usersManifest, policyManifest("named", basicSpec)}, "\n---\n"))
	socket := filepath.Join(state, "auth.sock")
	args := []string{"-f", file, "--listen", "unix:" + socket, "--state", state}
	printed, stderr, code := command(t, append([]string{"auth", "--print-envoy-config"}, args...)...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	startAuthIn(t, c.endpoint(), args...)
	gatewaytest.Eventually(t, "socket", func() error { _, err := os.Stat(socket); return err })
	bootstrap := pasted(t, printed, port, backend.Port, [2]string{"/stream", "streamed default/named"}, [2]string{"/", "named default/named"})
	envoytest.Start(t, traced(t, bootstrap, c))
	for i, test := range []struct {
		path, name, question string
		header               []string
		want                 int
		attributes           map[string]string
	}{
		{"/named", "ext_authz", "async envoy.service.auth.v3.Authorization.Check egress", nil, 401, map[string]string{
			"gatehouse.allowed": "false", "gatehouse.reason": "credentials_missing", "http.response.status_code": "401",
		}},
		{"/named?access_token=secret", "ext_authz", "async envoy.service.auth.v3.Authorization.Check egress", []string{basicAlice}, 200, map[string]string{
			"gatehouse.allowed": "true", "gatehouse.reason": "allowed",
		}},
		{"/stream", "ext_proc", "async envoy.service.ext_proc.v3.ExternalProcessor.Process egress", nil, 401, map[string]string{
			"gatehouse.allowed": "false", "gatehouse.reason": "credentials_missing", "http.response.status_code": "401",
		}},
	} {
		trace := traceOf(i)
		a := gatewaytest.Get(t, at(port, test.path), append(test.header, "traceparent: 00-"+trace+"-"+clientSpan+"-01")...)
		if a.Status != test.want {
			t.Errorf("%s: %d, want %d", test.path, a.Status, test.want)
		}
		check := c.await(t, "gatehouse", trace, 1)[0]
		var parent span
		gatewaytest.Eventually(t, "Envoy's span", func() error {
			edge := c.of("edge", trace)
			at := slices.IndexFunc(edge, func(s span) bool { return s.id == check.parent })
			if at < 0 {
				return fmt.Errorf("the check %+v is a child of none of %+v", check, edge)
			}
			parent = edge[at]
			if !slices.ContainsFunc(edge, func(s span) bool { return s.id == parent.parent && s.parent == clientSpan }) {
				return fmt.Errorf("Envoy's question %+v is no child of a request's span: %+v", parent, edge)
			}
			return nil
		})
		test.attributes["gatehouse.policy"], test.attributes["http.request.method"] = "default/named", http.MethodGet
		test.attributes["server.address"], test.attributes["gatehouse.dry_run"] = "127.0.0.1", "false"
		if parent.name != test.question || check.name != test.name || check.kind != tracev1.Span_SPAN_KIND_SERVER || check.status.GetCode() != tracev1.Status_STATUS_CODE_UNSET {
			t.Errorf("%s: %+v is a child of %+v", test.path, check, parent)
		}
		if !maps.Equal(check.attributes, test.attributes) {
			t.Errorf("%s: attributes %v, want %v", test.path, check.attributes, test.attributes)
		}
	}
}

// TestAGatewaysChecksAreSpansAndCounts: children of what the request says where Envoy doesn't trace, with the policy, the
// rule and the verdict, and with nothing of the client's that could be a credential. The last ones are sent
// while the gateway stops.
func TestAGatewaysChecksAreSpansAndCounts(t *testing.T) {
	t.Parallel()
	backend, port, c := gatewaytest.NewBackend(t, "b"), freePort(t), newCollector(t)
	rules := "  authorization: {defaultAction: Deny, rules: [{name: reads, action: Allow, principal: {headers: [{name: x-team, values: [a]}]}}]}"
	g := gatewaytest.Start(t, map[string]string{"all.yaml": strings.Join([]string{
		usersManifest, gatewayManifest(port), backendManifest("b", backend.Port),
		route("rules", "rules.example", to("b")), policyManifest("rules", rules),
		route("streamed", "streamed.example", to("b")), policyManifest("streamed", basicSpec+"\n  enforcement: ExtProc"),
		route("dry", "dry.example", to("b")), policyManifest("dry", basicSpec+"\n  dryRun: true"),
		route("broken", "broken.example", to("b")), policyManifest("broken", "  basicAuth: {users: {name: nowhere}}"),
	}, "\n---\n")}, gatewaytest.Env(fmt.Sprintf("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:%d", c.port),
		"OTEL_SERVICE_NAME=front", "OTEL_BSP_SCHEDULE_DELAY=600000", "OTEL_TRACES_SAMPLER=parentbased_always_off"))
	cases := []struct {
		host, name string
		parent     []string // header lines
		more       []string
		want       int
		attributes map[string]string // beside those that all have; nil: there is no span
	}{
		{"rules", "ext_authz", []string{"traceparent: 00-TRACE-SPAN-01"}, []string{"x-team: a"}, 200, map[string]string{
			"gatehouse.allowed": "true", "gatehouse.reason": "allowed", "gatehouse.rule": "reads",
		}},
		{"rules", "ext_authz", []string{"b3: TRACE-SPAN-1"}, nil, 403, map[string]string{
			"gatehouse.allowed": "false", "gatehouse.reason": "rule_default_denied", "http.response.status_code": "403",
		}},
		{"streamed", "ext_proc", []string{"x-b3-traceid: TRACE", "x-b3-spanid: SPAN", "x-b3-sampled: 1"}, []string{basicAlice}, 200, map[string]string{
			"gatehouse.allowed": "true", "gatehouse.reason": "allowed",
		}},
		{"dry", "ext_authz", []string{"traceparent: 00-TRACE-SPAN-01"}, nil, 200, map[string]string{
			"gatehouse.allowed": "true", "gatehouse.reason": "dry_run_credentials_missing", "gatehouse.dry_run": "true",
		}},
		{"broken", "ext_authz", []string{"traceparent: 00-TRACE-SPAN-01"}, []string{basicAlice}, 503, map[string]string{
			"gatehouse.allowed": "false", "gatehouse.reason": "policy_unusable", "http.response.status_code": "503",
		}},
		// The sampler decides where the caller leaves it open, and the caller's refusal holds.
		{"rules", "", nil, []string{"x-team: a"}, 200, nil},
		{"rules", "", []string{"traceparent: 00-TRACE-SPAN-00"}, []string{"x-team: a"}, 200, nil},
		{"rules", "", []string{"traceparent: 00-TRACE-SPAN-01", "traceparent: 00-TRACE-SPAN-01"}, []string{"x-team: a"}, 200, nil},
	}
	for i, test := range cases {
		header := append([]string{"Host: " + test.host + ".example"}, test.more...)
		for _, line := range test.parent {
			header = append(header, strings.NewReplacer("TRACE", traceOf(i), "SPAN", clientSpan).Replace(line))
		}
		if a := gatewaytest.Get(t, at(port, "/x?api_key=secret"), header...); a.Status != test.want {
			t.Errorf("%s: %d, want %d: %s", test.host, a.Status, test.want, a.Body)
		}
	}
	count := func(allowed bool, policy, reason string, n int) string {
		return fmt.Sprintf("gatehouse_authorizer_verdicts_total{allowed=\"%v\",policy=\"default/%s\",reason=%q} %d", allowed, policy, reason, n)
	}
	if err := has(t, g.Metrics+"/metrics", count(true, "rules", "allowed", 4), count(false, "rules", "rule_default_denied", 1), count(true, "streamed", "allowed", 1),
		count(true, "dry", "dry_run_credentials_missing", 1), count(false, "broken", "policy_unusable", 1)); err != nil {
		t.Error(err)
	}
	if code := g.Stop(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	for i, test := range cases {
		spans := c.of("front", traceOf(i))
		if test.attributes == nil {
			if len(spans) > 0 {
				t.Errorf("%d: spans that nobody wants: %+v", i, spans)
			}
			continue
		}
		if len(spans) != 1 {
			t.Errorf("%d: %d spans: %+v", i, len(spans), spans)
			continue
		}
		want := map[string]string{
			"http.request.method": "GET", "server.address": test.host + ".example", "gatehouse.dry_run": "false",
			"gatehouse.policy": "default/" + test.host, "gatehouse.route": "httproute/default/" + test.host + "/rule/0",
		}
		maps.Copy(want, test.attributes)
		faulty := test.want >= http.StatusInternalServerError
		if s := spans[0]; s.name != test.name || s.parent != clientSpan || faulty != (s.status.GetCode() == tracev1.Status_STATUS_CODE_ERROR) || !maps.Equal(s.attributes, want) {
			t.Errorf("%d: %+v, want attributes %v", i, s, want)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spans) != 5 {
		t.Errorf("%d spans: %+v", len(c.spans), c.spans)
	}
}

// TestACollectorThatHangsCostsSpansOnly: requests are decided as without it, the stop is bounded, and the log says
// what is lost. One that can't be right keeps nobody from starting either.
func TestACollectorThatHangsCostsSpansOnly(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connections are taken by the kernel, and nobody reads
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for name, test := range map[string]struct{ env, log string }{
		"silent":   {"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + silent.Addr().String(), "the last spans are lost"},
		"protocol": {"OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "no spans are sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
			g := gatewaytest.Start(t, map[string]string{"all.yaml": strings.Join([]string{
				usersManifest, gatewayManifest(port), backendManifest("b", backend.Port), route("r", "r.example", to("b")), policyManifest("r", basicSpec),
			}, "\n---\n")}, gatewaytest.Env("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9", "OTEL_BSP_MAX_QUEUE_SIZE=4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=2", test.env))
			for range 40 {
				if a := gatewaytest.Get(t, at(port, "/"), "Host: r.example", basicAlice); a.Status != http.StatusOK {
					t.Fatalf("status %d", a.Status)
				}
			}
			if code := g.Stop(t); code != 0 || !strings.Contains(g.Output(), test.log) {
				t.Errorf("exit %d, and the log doesn't say %q", code, test.log)
			}
		})
	}
}
