package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const cidrSpec = `  authorization:
    defaultAction: Deny
    rules:
    - {name: office, action: Allow, principal: {clientCIDRs: ["203.0.113.0/24", "2001:db8::/32"]}}`

const officeOrLoopback = `  authorization:
    defaultAction: Deny
    rules:
    - {action: Allow, principal: {clientCIDRs: ["127.0.0.0/8"]}}`

func clientPolicy(detection string) string {
	return `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
metadata: {name: client}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: gw}]
  clientIPDetection: ` + detection
}

// TestClientAddressDecidesCIDRRules: the address comes from where ClientTrafficPolicy says, and from
// nowhere else.
func TestClientAddressDecidesCIDRRules(t *testing.T) {
	t.Parallel()
	type request struct {
		header []string
		want   int
	}
	for name, test := range map[string]struct {
		detection string // "" is no policy
		rules     string
		requests  []request
	}{
		"TCP peer by default": {rules: cidrSpec, requests: []request{
			{want: 403},
			{header: []string{"X-Forwarded-For: 203.0.113.7"}, want: 403},
			{header: []string{"x-gatehouse-client-ip: 203.0.113.7"}, want: 403},
		}},
		"TCP peer allowed": {rules: officeOrLoopback, requests: []request{
			{want: 200},
			{header: []string{"x-gatehouse-client-ip: 203.0.113.7"}, want: 200},
			{header: []string{"X-Forwarded-For: 203.0.113.7"}, want: 200},
		}},
		"X-Forwarded-For with one trusted hop": {detection: "{xForwardedFor: {numTrustedHops: 1}}", rules: cidrSpec, requests: []request{
			{header: []string{"X-Forwarded-For: 203.0.113.7"}, want: 200},
			{header: []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.7"}, want: 200},
			{header: []string{"X-Forwarded-For: 203.0.113.7, 198.51.100.1"}, want: 403},
			{header: []string{"X-Forwarded-For: 2001:db8::7"}, want: 200},
			{header: []string{"X-Forwarded-For: 198.51.100.1", "x-gatehouse-client-ip: 203.0.113.7"}, want: 403},
			{want: 403},
		}},
		"X-Forwarded-For with trusted networks": {detection: `{xForwardedFor: {trustedCIDRs: ["127.0.0.0/8", "198.51.100.0/24"]}}`, rules: cidrSpec, requests: []request{
			{header: []string{"X-Forwarded-For: 203.0.113.7, 198.51.100.1"}, want: 200},
			{header: []string{"X-Forwarded-For: 203.0.113.7, 192.0.2.9"}, want: 403},
		}},
		"a custom header": {detection: "{customHeader: {name: x-real-address}}", rules: cidrSpec, requests: []request{
			{header: []string{"x-real-address: 203.0.113.7"}, want: 200},
			{header: []string{"x-real-address: 198.51.100.1"}, want: 403},
			{header: []string{"x-real-address: nonsense"}, want: 403},
			{header: []string{"X-Forwarded-For: 203.0.113.7"}, want: 403},
			{header: []string{"x-gatehouse-client-ip: 203.0.113.7"}, want: 403},
			{want: 403},
		}},
		"a custom header that must be there": {detection: "{customHeader: {name: x-real-address, failClosed: true}}", rules: officeOrLoopback, requests: []request{
			{header: []string{"x-real-address: 127.0.0.9"}, want: 200},
			{want: 403},
		}},
		"direct source": {detection: "{directSourceIP: {}}", rules: officeOrLoopback, requests: []request{
			{header: []string{"X-Forwarded-For: 203.0.113.7"}, want: 200},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
			manifests := []string{
				gatewayManifest(port), routeManifest("r", prefix("/"), "b"), backendManifest("b", backend.Port), policyManifest("r", test.rules),
			}
			if test.detection != "" {
				manifests = append(manifests, clientPolicy(test.detection))
			}
			gatewaytest.Start(t, all(manifests...))
			for _, r := range test.requests {
				a := gatewaytest.Get(t, at(port, "/"), r.header...)
				if a.Status != r.want {
					t.Errorf("%q: %d, want %d", r.header, a.Status, r.want)
				}
				if got := a.Seen.Header.Get("x-gatehouse-client-ip"); a.Status == http.StatusOK && got != "" {
					t.Errorf("%q: the backend was sent x-gatehouse-client-ip %q", r.header, got)
				}
			}
		})
	}
}

// TestRegoSeesTheClientsAddress: the chosen one as source, the TCP peer beside it.
func TestRegoSeesTheClientsAddress(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), routeManifest("r", prefix("/"), "b"), backendManifest("b", backend.Port),
		clientPolicy("{xForwardedFor: {numTrustedHops: 1}}"), policyManifest("r", `
  opa:
    decision: envoy/authz/result
    modules:
    - type: Inline
      inline: |
        package envoy.authz
        import rego.v1
        result := {"allowed": true, "headers": {
          "x-source": input.attributes.source.address.socketAddress.address,
          "x-peer": json.marshal(input.peer)}}
`)))
	a := gatewaytest.Get(t, at(port, "/"), "X-Forwarded-For: 203.0.113.7")
	if got := a.Seen.Header.Get("x-source"); a.Status != 200 || got != "203.0.113.7" {
		t.Errorf("%d, source %q, want the forwarded address", a.Status, got)
	}
	if got := a.Seen.Header.Get("x-peer"); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("peer %q, want the TCP peer", got)
	}
}
