package security_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// TestRegoReachesTheNetworkByDefault in OPA's library, which the plugins of OPA are made of; a policy of
// Gatehouse doesn't compile then. docs/security.md says so.
func TestRegoReachesTheNetworkByDefault(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(server.Close)
	module := "package envoy.authz\nallow if http.send({\"method\": \"GET\", \"url\": \"" + server.URL + "\"}).status_code == 200"
	result, err := rego.New(rego.Query("data.envoy.authz.allow"), rego.Module("m.rego", module)).Eval(t.Context())
	if err != nil || !result.Allowed() || asked.Load() != 1 {
		t.Errorf("the library: %v %v, asked %d times", result, err, asked.Load())
	}
	_, err = policy.Compile(&config.Policy{Name: "d/p", OPA: &config.OPA{Modules: []config.Module{{Source: config.Source{Inline: module}}}}}, policy.Deps{})
	if err == nil || !strings.Contains(err.Error(), "http.send") || asked.Load() != 1 {
		t.Errorf("Gatehouse: %v, asked %d times", err, asked.Load())
	}
}
