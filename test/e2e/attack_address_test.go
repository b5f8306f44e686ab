package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// trustingGateway is a Gateway on a port of its own that finds its clients' addresses in one way.
func trustingGateway(name string, port int, detection string) string {
	gateway := strings.Replace(gatewayManifest(port), "metadata: {name: gw}", "metadata: {name: "+name+"}", 1)
	client := strings.ReplaceAll(clientPolicy(detection), "name: gw}", "name: "+name+"}")
	return gateway + "---" + strings.Replace(client, "metadata: {name: client}", "metadata: {name: "+name+"}", 1)
}

// TestAttackByAForwardedAddress: the client's address isn't known if the header that should tell it is there and
// can't be read. It isn't the proxy's then: proxies are inside, where much is allowed and little is denied.
// Gateways behind a proxy on loopback, whose network is a trusted one, find the address in all ways there are.
func TestAttackByAForwardedAddress(t *testing.T) {
	t.Parallel()
	backend := gatewaytest.NewBackend(t, "b")
	manifests := []string{backendManifest("b", backend.Port)}
	ports := map[string]int{}
	for name, detection := range map[string]string{
		"none": "{directSourceIP: {}}", "one": "{xForwardedFor: {numTrustedHops: 1}}", "two": "{xForwardedFor: {numTrustedHops: 2}}",
		"networks": `{xForwardedFor: {trustedCIDRs: ["127.0.0.0/8", "10.0.0.0/8"]}}`,
		"silent":   `{xForwardedFor: {trustedCIDRs: ["127.0.0.0/8", "10.0.0.0/8"], disableXForwardedForAppend: true}}`,
		"strange":  `{xForwardedFor: {trustedCIDRs: ["192.0.2.0/24"]}}`, // the proxy isn't one of them
		"header":   "{customHeader: {name: X-Real-Address}}",
	} {
		ports[name] = freePort(t)
		manifests = append(manifests, trustingGateway(name, ports[name], detection))
	}
	parents := "parentRefs: [{name: " + strings.Join([]string{"none", "one", "two", "networks", "silent", "strange", "header"}, "}, {name: ") + "}]"
	for name, spec := range map[string]string{
		"inside":   "  authorization: {defaultAction: Deny, rules: [{action: Allow, principal: {clientCIDRs: [127.0.0.0/8, 10.0.0.0/8]}}]}",
		"outside":  "  authorization: {defaultAction: Allow, rules: [{action: Deny, principal: {clientCIDRs: [203.0.113.0/24]}}]}",
		"computed": "  authorization: {defaultAction: Deny, rules: [{action: Allow, cel: 'source.address.startsWith(\"127.\") || source.address.startsWith(\"10.\")'}]}",
		"rego":     "  opa: {modules: [{type: Inline, inline: \"package envoy.authz\\nimport rego.v1\\nallow if net.cidr_contains(\\\"127.0.0.0/8\\\", input.attributes.source.address.socketAddress.address)\\nallow if net.cidr_contains(\\\"10.0.0.0/8\\\", input.attributes.source.address.socketAddress.address)\"}]}",
	} {
		for suffix, enforcement := range map[string]string{"": "", "-streamed": byExtProc} {
			manifest := strings.Replace(routeManifest(name+suffix, prefix("/"+name+suffix), "b"), "parentRefs: [{name: gw}]", parents, 1)
			manifests = append(manifests, manifest, policyManifest(name+suffix, spec+enforcement))
		}
	}
	files := all(manifests...)
	gatewaytest.Start(t, files)

	const outside, unknown, elsewhere = "403 403", "403 403 ", "403 200"
	long := strings.Repeat("1.2.3.4,", 24) + "203.0.113.7"
	cases := []forwardedCase{
		{"none", "", "200 200"},
		{"none", "X-Forwarded-For: junk", "200 200"},
		{"one", "", "200 200"}, // the proxy itself
		{"one", "X-Forwarded-For: 203.0.113.7", outside},
		{"one", "X-Forwarded-For: 10.0.0.1, 192.0.2.7", elsewhere},
		{"one", "X-Forwarded-For: 203.0.113.7:4711", unknown},
		{"one", "X-Forwarded-For: [2001:db8::7]:4711", unknown},
		{"one", "X-Forwarded-For: 203.0.113.7, unknown", unknown},
		{"one", "X-Forwarded-For: 203.0.113.7,", unknown},
		{"one", "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: _hidden", unknown},
		{"one", "X-Forwarded-For: 010.0.0.1", unknown},
		{"one", "X-Forwarded-For: 0x7f.1", unknown},
		{"one", "X-Forwarded-For: 2130706433", unknown},
		{"one", "X-Forwarded-For: localhost", unknown},
		{"one", "X-Forwarded-For: ::ffff:203.0.113.7", outside},
		{"one", "X-Forwarded-For: ::ffff:10.0.0.1", "200 200"},
		{"one", "X-Forwarded-For: ::127.0.0.1", elsewhere},
		{"one", "X-Forwarded-For: " + long, outside},
		{"two", "X-Forwarded-For: 203.0.113.7", unknown}, // one proxy less than said
		{"two", "X-Forwarded-For: 203.0.113.7:4711, 10.0.0.1", unknown},
		{"two", "X-Forwarded-For: 203.0.113.7, 10.0.0.1", outside},
		{"networks", "", "200 200"},
		{"networks", "X-Forwarded-For: 203.0.113.7, 10.0.0.1", outside},
		{"networks", "X-Forwarded-For: " + long, unknown},
		{"networks", "X-Forwarded-For: " + strings.Repeat("1.2.3.4,", 19) + "203.0.113.7", outside},
		{"networks", "X-Forwarded-For: " + strings.Repeat("1.2.3.4,", 20) + "203.0.113.7", unknown},
		{"networks", "X-Forwarded-For: " + strings.Repeat(",", 25) + "203.0.113.7", unknown},
		{"networks", "X-Forwarded-For: " + strings.Repeat("10.0.0.1, ", 25) + "203.0.113.7", unknown},
		{"networks", "X-Forwarded-For: 203.0.113.7:4711", unknown},
		{"networks", "X-Forwarded-For: unknown", unknown},
		{"networks", "X-Forwarded-For: 203.0.113.7, ::ffff:10.0.0.1", outside},
		{"silent", "", "200 200"},
		{"silent", "X-Forwarded-For: unknown", unknown},
		{"silent", "X-Forwarded-For: " + long, unknown},
		{"silent", "X-Forwarded-For: " + strings.Repeat("1.2.3.4,", 20) + "203.0.113.7", unknown},
		{"silent", "X-Forwarded-For: 203.0.113.7", outside},
		{"strange", "X-Forwarded-For: 203.0.113.7", "200 200"}, // what a stranger says of others isn't read
		{"strange", "X-Forwarded-For: 203.0.113.7, 192.0.2.1, ::1", "200 200"},
		{"header", "", "200 200"},
		{"header", "X-Real-Address: 203.0.113.7", outside},
		{"header", "x-real-address: 10.0.0.1\r\nX-Real-Address: 203.0.113.7", unknown},
		{"header", "x-real-address: 10.0.0.1\r\nx-real-address: 10.0.0.1", unknown},
		{"header", "x-real-address: 10.0.0.1, 203.0.113.7", unknown},
		{"header", "x-real-address: 203.0.113.7:4711", unknown},
		{"header", "x-real-address: junk", unknown},
		{"header", "x-real-address:", unknown},
	}
	for _, c := range cases {
		for _, suffix := range []string{"", "-streamed"} {
			get := func(path string) int {
				status, _ := exchangeRaw(t, ports[c.gateway], fmt.Sprintf("GET /%s%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n", path, suffix, lineOf(c.lines)))
				return status
			}
			want := strings.TrimSpace(c.want)
			if got := fmt.Sprint(get("inside"), " ", get("outside")); got != want {
				t.Errorf("%s%s, %.60q: only inside and not outside: %s, want %s", c.gateway, suffix, c.lines, got, want)
			}
			if got := fmt.Sprint(get("computed")); got != want[:3] {
				t.Errorf("%s%s, %.60q: by an expression: %s, want %s", c.gateway, suffix, c.lines, got, want[:3])
			}
			if got := fmt.Sprint(get("rego")); got != want[:3] {
				t.Errorf("%s%s, %.60q: by Rego: %s, want %s", c.gateway, suffix, c.lines, got, want[:3])
			}
		}
	}
	// The command that tries policies without Envoy finds the same.
	stdout, stderr, code := command(t, "test", "-f", writeFile(t, files["all.yaml"]), writeFile(t, policyCases(cases, ports)))
	if code != 0 {
		t.Errorf("gatehouse test: %d\n%s%s", code, stdout, stderr)
	}
}

// forwardedCase is what a proxy tells a Gateway, and the answers of a route for clients inside and of one for all
// but some outside.
type forwardedCase struct{ gateway, lines, want string }

// policyCases are the same as a file of cases.
func policyCases(cases []forwardedCase, ports map[string]int) string {
	out := []string{"cases:"}
	for i, c := range cases {
		name, value, there := strings.Cut(c.lines, ":")
		header := ""
		if there {
			header = fmt.Sprintf("%s: %q", strings.ToLower(name), strings.TrimSpace(value))
		}
		if strings.Contains(c.lines, "\r\n") {
			continue // a case has one line of a header
		}
		for k, path := range []string{"inside", "outside"} {
			verdict := map[string]string{"200": "allow", "403": "deny"}[strings.Fields(c.want)[k]]
			out = append(out, fmt.Sprintf("- {name: %s %d %s, request: {url: 'http://h:%d/%s', headers: {%s}}, expect: {verdict: %s}}",
				c.gateway, i, path, ports[c.gateway], path, header, verdict))
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// lineOf ends a header line; of none there is none.
func lineOf(line string) string {
	if line == "" {
		return ""
	}
	return line + "\r\n"
}
