package admin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/gatehouse-proxy/gatehouse/internal/admin"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
)

// secretValue is in every place of the bootstrap where a secret can be.
const secretValue = "hunter2-never-shown"

const bootstrap = `
static_resources:
  secrets:
  - name: a-secret
    generic_secret: {secret: {inline_string: hunter2-never-shown}}
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: hcm
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            name: static-routes
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                direct_response: {status: 200}
                typed_per_filter_config:
                  basic_auth:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute
                    users: {inline_string: "alice:{SHA}hunter2-never-shownAAAAAAAA="}
          http_filters:
          - name: basic_auth
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuth
              users: {inline_string: "alice:{SHA}hunter2-never-shownAAAAAAAA="}
          - name: router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: backend
    load_assignment: {cluster_name: backend}
`

func envoy(t *testing.T) http.RoundTripper {
	t.Helper()
	e := envoytest.Start(t, fmt.Sprintf(bootstrap, envoytest.FreePort(t)))
	return proxy.New(proxy.Config{AdminSocket: e.Socket()}).Admin().Transport
}

func options(envoy http.RoundTripper) admin.Options {
	return admin.Options{Envoy: envoy, Address: "127.0.0.1:19000", Logger: slog.New(slog.DiscardHandler)}
}

type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; header holds name, value pairs, of which Host is one.
func ask(t *testing.T, h http.Handler, method, target string, header ...string) answer {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	req.Host = "127.0.0.1:19000"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{w.Code, w.Header(), string(body)}
}

func TestOperatorsReachEnvoysPages(t *testing.T) {
	t.Parallel()
	h := admin.New(options(envoy(t)))
	for _, test := range []struct{ method, target, says string }{
		{"GET", "/config_dump", "BootstrapConfigDump"},
		{"GET", "/config_dump?resource=static_clusters", "backend"},
		{"GET", "/clusters", "backend::"},
		{"GET", "/clusters?format=json", "cluster_statuses"},
		{"GET", "/listeners", "web::127.0.0.1"},
		{"GET", "/stats?filter=server.live", "server.live: 1"},
		{"GET", "/stats?filter=server.live&format=json", `"server.live"`},
		{"GET", "/stats/prometheus", "envoy_server_live"},
		{"GET", "/server_info", `"LIVE"`},
		{"GET", "/ready", "LIVE"},
		{"GET", "/certs", "{"},
		{"GET", "/memory", "allocated"},
		{"GET", "/runtime", "entries"},
		{"GET", "/", "POST /reset_counters"},
		{"GET", "/help?", "GET  /config_dump"},
		{"HEAD", "/server_info", ""},
		{"POST", "/reset_counters", "OK"},
		{"POST", "/logging?level=warning", "active loggers"},
	} {
		got := ask(t, h, test.method, test.target)
		if got.status != http.StatusOK || !strings.Contains(got.body, test.says) {
			t.Errorf("%s %s: %d %.300s", test.method, test.target, got.status, got.body)
		}
	}
}

func TestNothingThatStopsOrChangesEnvoyPasses(t *testing.T) {
	t.Parallel()
	transport := envoy(t)
	h := admin.New(options(transport))
	for _, test := range []struct {
		method, target string
		status         int
	}{
		{"POST", "/quitquitquit", 403},
		{"POST", "/drain_listeners?graceful", 403},
		{"POST", "/healthcheck/fail", 403},
		{"POST", "/runtime_modify?a=b", 403},
		{"POST", "/cpuprofiler?enable=y", 403},
		{"POST", "/heapprofiler?enable=y", 403},
		{"POST", "/reopen_logs", 403},
		{"POST", "/%71uitquitquit", 403},
		{"POST", "/stats/../quitquitquit", 403},
		{"POST", "//quitquitquit", 403},
		{"POST", "/reset_counters/../quitquitquit", 403},
		{"GET", "/stats/recentlookups", 403},
		{"GET", "/reset_counters", 405},
		{"GET", "/logging", 405},
		{"POST", "/config_dump", 405},
		{"DELETE", "/stats", 405},
	} {
		got := ask(t, h, test.method, test.target)
		if got.status != test.status {
			t.Errorf("%s %s: %d, want %d", test.method, test.target, got.status, test.status)
		}
		if test.status == 403 && !strings.Contains(got.body, "GET  /config_dump") {
			t.Errorf("%s %s doesn't say what is allowed: %s", test.method, test.target, got.body)
		}
		if test.status == 405 && got.header.Get("Allow") == "" {
			t.Errorf("%s %s: no Allow", test.method, test.target)
		}
	}
	if got := ask(t, h, "GET", "/ready"); got.status != 200 {
		t.Errorf("Envoy was harmed: %d %s", got.status, got.body)
	}
}

func TestConfigDumpKnowsTheHandbooksNames(t *testing.T) {
	t.Parallel()
	h := admin.New(options(envoy(t)))
	for name, holds := range map[string]string{"routes": "static-routes", "clusters": "backend", "listeners": "web"} {
		got := ask(t, h, "GET", "/config_dump?resource="+name)
		var dump struct{ Configs []map[string]any }
		if err := json.Unmarshal([]byte(got.body), &dump); err != nil || got.status != 200 {
			t.Fatalf("%s: %d %v %.200s", name, got.status, err, got.body)
		}
		if len(dump.Configs) == 0 || !strings.Contains(got.body, holds) {
			t.Errorf("%s: %.300s", name, got.body)
		}
	}
	if got := ask(t, h, "GET", "/config_dump?resource=lizards"); got.status != 404 {
		t.Errorf("unknown resource: %d", got.status)
	}
	if got := ask(t, h, "GET", "/config_dump?resource=routes&name_regex=("); got.status != 400 {
		t.Errorf("bad expression: %d %s", got.status, got.body)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	transport := envoy(t)
	h := admin.New(options(transport))
	if got := ask(t, h, "GET", "/config_dump"); !strings.Contains(got.body, "a-secret") || !strings.Contains(got.body, "[redacted]") {
		t.Errorf("the dump doesn't hold the redacted secret: %.500s", got.body)
	}
	for _, target := range []string{
		"/config_dump", "/config_dump?include_eds", "/config_dump?resource=routes", "/config_dump?resource=listeners",
		"/config_dump?resource=static_secrets", "/certs", "/server_info", "/stats", "/listeners", "/clusters",
	} {
		if got := ask(t, h, "GET", target); strings.Contains(got.body, secretValue) {
			t.Errorf("%s shows a secret", target)
		}
	}
	if got := ask(t, admin.Metrics(options(transport)), "GET", "/metrics"); strings.Contains(got.body, secretValue) {
		t.Error("/metrics shows a secret")
	}
}

func TestReadyCombinesEnvoyAndGatehouse(t *testing.T) {
	t.Parallel()
	o := options(envoy(t))
	var notReady error
	o.Ready = func() error { return notReady }
	h := admin.New(o)
	if got := ask(t, h, "GET", "/ready"); got.status != 200 {
		t.Errorf("both ready: %d", got.status)
	}
	notReady = errors.New("no snapshot yet")
	if got := ask(t, h, "GET", "/ready"); got.status != 503 || !strings.Contains(got.body, "no snapshot yet") {
		t.Errorf("Gatehouse not ready: %d %s", got.status, got.body)
	}
	for name, transport := range map[string]http.RoundTripper{
		"gone": proxy.New(proxy.Config{AdminSocket: "/nonexistent.sock"}).Admin().Transport, "of somebody else": nil,
	} {
		h := admin.New(options(transport))
		for _, target := range []string{"/ready", "/stats", "/config_dump?resource=routes"} {
			if got := ask(t, h, "GET", target); got.status != 503 || strings.Contains(got.body, "nonexistent") {
				t.Errorf("Envoy %s, %s: %d %s", name, target, got.status, got.body)
			}
		}
	}
}

func TestFurtherPagesAreMounted(t *testing.T) {
	t.Parallel()
	o := options(nil)
	o.Extra = map[string]http.Handler{
		"GET /api/status": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "[]") }),
	}
	h := admin.New(o)
	if got := ask(t, h, "GET", "/api/status"); got.status != 200 || got.body != "[]" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := ask(t, h, "GET", "/"); !strings.Contains(got.body, "GET /api/status") {
		t.Errorf("index: %s", got.body)
	}
	if got := ask(t, h, "GET", "/api/status", "Host", "evil.example"); got.status != 403 {
		t.Errorf("the guard doesn't cover it: %d", got.status)
	}
}

func TestWebPagesCannotReachTheAdminPort(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, address, method string
		header                []string
		passes                bool
	}{
		{"loopback address", "127.0.0.1:19000", "GET", []string{"Host", "127.0.0.1:19000"}, true},
		{"localhost", "127.0.0.1:19000", "GET", []string{"Host", "LOCALHOST:19000"}, true},
		{"IPv6 loopback", "127.0.0.1:19000", "GET", []string{"Host", "[::1]:19000"}, true},
		{"a name made to resolve to loopback", "127.0.0.1:19000", "GET", []string{"Host", "evil.example:19000"}, false},
		{"a name that only looks local", "127.0.0.1:19000", "GET", []string{"Host", "127.0.0.1.evil.example"}, false},
		{"no host", "127.0.0.1:19000", "GET", []string{"Host", ""}, false},
		{"another address", "127.0.0.1:19000", "GET", []string{"Host", "192.0.2.1:19000"}, false},
		{"the bound address", "192.0.2.1:19000", "GET", []string{"Host", "192.0.2.1:19000"}, true},
		{"any address when all are bound", "0.0.0.0:19000", "GET", []string{"Host", "192.0.2.1:19000"}, true},
		{"any address when the host is left out", ":19000", "GET", []string{"Host", "192.0.2.1:19000"}, true},
		{"a name when all are bound", "0.0.0.0:19000", "GET", []string{"Host", "evil.example"}, false},
		{"a name that is configured", "0.0.0.0:19000", "GET", []string{"Host", "gateway.internal:19000"}, true},
		{"a form of another site", "127.0.0.1:19000", "POST", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"a form of another port's site", "127.0.0.1:19000", "POST", []string{"Sec-Fetch-Site", "same-site"}, false},
		{"a foreign origin", "127.0.0.1:19000", "POST", []string{"Origin", "https://evil.example"}, false},
		{"an opaque origin", "127.0.0.1:19000", "POST", []string{"Origin", "null"}, false},
		{"our own page", "127.0.0.1:19000", "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:19000"}, true},
		{"curl", "127.0.0.1:19000", "POST", nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := options(nil)
			o.Address, o.Hosts = test.address, []string{"gateway.internal"}
			o.Extra = map[string]http.Handler{"/x": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
			got := ask(t, admin.New(o), test.method, "/x", test.header...)
			if (got.status == 200) != test.passes || !test.passes && got.status != 403 {
				t.Errorf("status %d", got.status)
			}
		})
	}
}

func TestOneMetricsPageHoldsEnvoysAndOurs(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_test_total", Help: "A test."}, []string{"reason"})
	registry.MustRegister(counter)
	counter.WithLabelValues("a\nb").Add(3)
	o := options(envoy(t))
	o.Gatherer = registry
	h := admin.Metrics(o)
	for _, path := range []string{"/metrics", "/stats/prometheus"} {
		got := ask(t, h, "GET", path)
		if !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain; version=0.0.4") {
			t.Errorf("%s: type %q", path, got.header.Get("Content-Type"))
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"envoy_server_live", "gatehouse_test_total", "gatehouse_envoy_up"} {
			if families[name] == nil {
				t.Errorf("%s lacks %s", path, name)
			}
		}
		if up := families["gatehouse_envoy_up"].GetMetric()[0].GetGauge().GetValue(); up != 1 {
			t.Errorf("gatehouse_envoy_up %v", up)
		}
	}
	if got := ask(t, h, "GET", "/config_dump"); got.status != 404 {
		t.Errorf("config_dump on the metrics port: %d", got.status)
	}
	if got := ask(t, h, "POST", "/metrics"); got.status != 405 {
		t.Errorf("POST: %d", got.status)
	}
}

func TestMetricsSurviveEnvoysAbsence(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gatehouse_test"}, func() float64 { return 1 }))
	o := options(proxy.New(proxy.Config{AdminSocket: "/nonexistent.sock"}).Admin().Transport)
	o.Gatherer = registry
	got := ask(t, admin.Metrics(o), "GET", "/metrics")
	if got.status != 200 || !strings.Contains(got.body, "gatehouse_envoy_up 0") || !strings.Contains(got.body, "gatehouse_test 1") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestMetricsOpenedToTheNetworkAcceptEveryName(t *testing.T) {
	t.Parallel()
	for address, status := range map[string]int{"127.0.0.1:19001": 403, "0.0.0.0:19001": 200} {
		o := options(nil)
		o.Address = address
		if got := ask(t, admin.Metrics(o), "GET", "/metrics", "Host", "gatehouse.monitoring.svc"); got.status != status {
			t.Errorf("%s: %d, want %d", address, got.status, status)
		}
	}
}
