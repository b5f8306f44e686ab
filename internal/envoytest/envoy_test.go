package envoytest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

const direct = `
static_resources:
  listeners:
  - name: web
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - {name: all, domains: ["*"], routes: [{match: {prefix: "/"}, direct_response: {status: 204}}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

func TestStartServesTheBootstrap(t *testing.T) {
	t.Parallel()
	port := envoytest.FreePort(t)
	e := envoytest.Start(t, fmt.Sprintf(direct, port))
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", answer.StatusCode)
	}
	if n := e.Stat(t, "http.web.downstream_rq_total"); n != 1 {
		t.Errorf("downstream_rq_total = %d", n)
	}
	if !strings.Contains(e.ConfigDump(t), "HttpConnectionManager") {
		t.Error("config dump lacks the listener")
	}
	e.Stop()
	if _, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
		t.Error("Envoy still answers after Stop")
	}
}

func TestValidateTellsGoodFromBad(t *testing.T) {
	t.Parallel()
	envoytest.Validate(t, fmt.Sprintf(direct, 1))
	if out, err := envoytest.Check(t, "static_resources: {listeners: [{name: 1, nonsense: 2}]}"); err == nil {
		t.Errorf("accepted: %s", out)
	}
}
