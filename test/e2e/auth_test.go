package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// ownEnvoy is a configuration of somebody who runs their own Envoy: three routes, two of which name a
// policy.
func ownEnvoy(port, backend int, socket string) string {
	filter := func(policy string) string {
		if policy == "" {
			return ""
		}
		return `
                typed_per_filter_config:
                  envoy.filters.http.ext_authz:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                    check_settings: {context_extensions: {gatehouse.policy: ` + policy + `}}`
	}
	return fmt.Sprintf(`
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: own
          normalize_path: true
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /named}
                route: {cluster: backend}%s
              - match: {prefix: /unknown}
                route: {cluster: backend}%s
              - match: {prefix: /}
                route: {cluster: backend}
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              encode_raw_headers: true
              status_on_error: {code: ServiceUnavailable}
              grpc_service: {timeout: 2s, envoy_grpc: {cluster_name: gatehouse}}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: backend
    load_assignment: {cluster_name: backend, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}]}]}
  - name: gatehouse
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: gatehouse, endpoints: [{lb_endpoints: [{endpoint: {address: {pipe: {path: %s}}}}]}]}
`, port, filter("default/named"), filter("default/nowhere"), backend, socket)
}

// TestAuthServesAnEnvoyOfOnesOwn: by the policy that a route names, by default, with CORS complete.
func TestAuthServesAnEnvoyOfOnesOwn(t *testing.T) {
	t.Parallel()
	backend, port, dir := gatewaytest.NewBackend(t, "b"), freePort(t), t.TempDir()
	state := envoytest.SocketDir(t)
	socket := filepath.Join(state, "auth.sock")
	policies := filepath.Join(dir, "policies.yaml")
	write := func(named string) {
		text := strings.Join([]string{usersManifest, policyManifest("named", named), policyManifest("fallback", officeOrLoopback)}, "\n---\n")
		if err := os.WriteFile(policies, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(basicSpec + corsSpec)
	metrics := freePort(t)
	startAuth(t, "-f", dir, "--listen", "unix:"+socket, "--default-policy", "default/fallback", "--metrics-address", "127.0.0.1:"+itoa(metrics))
	gatewaytest.Eventually(t, "socket", func() error { _, err := os.Stat(socket); return err })
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(state); err != nil || len(left) != 1 {
		t.Errorf("beside the socket: %v %v", left, err)
	}
	shared, owner := filepath.Join(state, "shared.sock"), os.Getuid()
	if owner == 0 {
		owner = 65534 // who may give a socket away does
	}
	startAuth(t, "-f", dir, "--listen", "unix:"+shared, "--socket-mode", "660", "--socket-owner", fmt.Sprintf("%d:%d", owner, os.Getgid()))
	gatewaytest.Eventually(t, "shared socket", func() error {
		info, err := os.Stat(shared)
		if err == nil && info.Mode().Perm() != 0o660 {
			err = fmt.Errorf("mode %v", info.Mode())
		}
		if err == nil && info.Sys().(*syscall.Stat_t).Uid != uint32(owner) {
			err = fmt.Errorf("it belongs to %v, want %d", info.Sys(), owner)
		}
		return err
	})
	envoytest.Start(t, ownEnvoy(port, backend.Port, socket))

	for name, test := range map[string]struct {
		path   string
		header []string
		want   int
	}{
		"named, no credentials":         {"/named", nil, 401},
		"named, password":               {"/named", []string{basicAlice}, 200},
		"default policy":                {"/x", nil, 200},
		"unknown policy":                {"/unknown", []string{basicAlice}, 503},
		"a header can't choose":         {"/named", []string{"gatehouse.policy: default/fallback"}, 401},
		"a forged client address":       {"/x", []string{"x-gatehouse-client-ip: 203.0.113.7"}, 200},
		"a path that would be rerouted": {"/named/../x", nil, 200},
	} {
		if a := gatewaytest.Get(t, at(port, test.path), test.header...); a.Status != test.want {
			t.Errorf("%s: %d, want %d", name, a.Status, test.want)
		}
	}
	if err := has(t, at(metrics, "/metrics"), `gatehouse_authorizer_verdicts_total{allowed="false",policy="default/named",reason="credentials_missing"} 2`,
		`gatehouse_authorizer_verdicts_total{allowed="true",policy="default/fallback",reason="allowed"} 3`, `gatehouse_authorizer_password_hashes_total 0`); err != nil {
		t.Error(err)
	}
	checkCORS(t, "200", gatewaytest.Get(t, at(port, "/named"), basicAlice, origin).Header)
	checkCORS(t, "401", gatewaytest.Get(t, at(port, "/named"), origin).Header)
	preflight := gatewaytest.Send(t, http.MethodOptions, at(port, "/named"), origin, "Access-Control-Request-Method: GET")
	if preflight.Status != http.StatusNoContent {
		t.Errorf("preflight: %d, want 204", preflight.Status)
	}
	checkCORS(t, "preflight", preflight.Header)

	write("  authorization: {defaultAction: Deny}")
	gatewaytest.Await(t, at(port, "/named"), http.StatusForbidden, basicAlice)
}

// startAuth returns what it logs.
func startAuth(t *testing.T, args ...string) *lockedOutput {
	t.Helper()
	return startAuthIn(t, nil, args...)
}

// startAuthIn adds to the environment.
func startAuthIn(t *testing.T, env []string, args ...string) *lockedOutput {
	t.Helper()
	cmd := exec.Command(gatewaytest.Binary(t), append([]string{"auth"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out := &lockedOutput{}
	cmd.Stderr = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("gatehouse auth: %v", err)
		}
		if t.Failed() {
			t.Logf("gatehouse auth:\n%s", out.text())
		}
	})
	return out
}
