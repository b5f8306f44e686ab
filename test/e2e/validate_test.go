package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

// TestValidate: each fault is a line that names file, object and field.
func TestValidate(t *testing.T) {
	t.Parallel()
	const port = 18080 // nothing is bound
	base := gatewayManifest(port) + "\n---\n" + backendManifest("b", 1) + "\n---\n" + routeManifest("r", prefix("/"), "b")
	for name, test := range map[string]struct {
		manifest string
		args     []string
		code     int
		says     string
	}{
		"nothing":            {"", nil, 0, "0 errors, 0 warnings"},
		"password hash":      {policyManifest("r", basicSpec) + "\n---\n" + strings.Replace(usersManifest, "{SHA}", "{MD5}", 1), nil, 1, "SecurityPolicy default/r: spec.basicAuth.users: htpasswd line 1"},
		"missing secret":     {policyManifest("r", basicSpec), nil, 1, "SecurityPolicy default/r: spec.basicAuth.users: Secret default/users doesn't exist"},
		"key set":            {policyManifest("r", "  jwt: {providers: [{name: a, localJWKS: {type: Inline, inline: '{'}}]}"), nil, 1, "SecurityPolicy default/r: spec.jwt.providers"},
		"key set's address":  {policyManifest("r", "  jwt: {providers: [{name: a, remoteJWKS: {uri: 'ftp://x'}}]}"), nil, 1, "SecurityPolicy default/r: spec.jwt.providers"},
		"Rego":               {policyManifest("r", "  opa: {modules: [{type: Inline, inline: 'package x\nallow if {'}]}"), nil, 1, "SecurityPolicy default/r: spec.opa.modules[0]: "},
		"expression":         {policyManifest("r", "  authorization: {rules: [{action: Allow, cel: 'request.methud == 1'}]}"), nil, 1, "SecurityPolicy default/r: spec.authorization.rules[0].cel: 1:8: undeclared"},
		"one header for two": {policyManifest("r", basicSpec+"\n  authMode: All\n  jwt: {providers: [{name: a, remoteJWKS: {uri: 'https://x.example'}}]}"), nil, 1, "SecurityPolicy default/r: spec.authMode: All can't be met"},
		"login":              {policyManifest("r", "  oidc: {provider: {issuer: https://idp.example}, clientID: a, clientSecret: {name: s}}"), nil, 1, "SecurityPolicy default/r: spec.oidc.clientSecret: Secret default/s doesn't exist"},
		"login's provider":   {oidcSecret + "\n---\n" + policyManifest("r", "  oidc: {provider: {issuer: https://idp.example}, clientID: a, clientSecret: {name: oidc}}"), []string{"--strict"}, 0, "SecurityPolicy default/r: spec.oidc.provider: a gateway fetches https://idp.example/.well-known/openid-configuration"},
		"open provider":      {oidcSecret + "\n---\n" + policyManifest("r", "  oidc: {provider: {issuer: http://idp.example}, clientID: a, clientSecret: {name: oidc}}"), nil, 1, "SecurityPolicy default/r: spec.oidc.provider.issuer: must be https"},
		"csrf origin":        {policyManifest("r", "  csrf: {additionalOrigins: [nonsense]}"), nil, 1, "SecurityPolicy default/r: spec.csrf.additionalOrigins[0]: "},
		"path of a server":   {policyManifest("r", "  extAuth: {http: {path: x, backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}}"), nil, 1, "SecurityPolicy default/r: spec.extAuth.http.path: must begin with /"},
		"server of a filter": {route("s", "", "filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: nobody, port: 1}}}]\n"+to("b")), nil, 1, "HTTPRoute default/s: spec.rules[0].filters[0].externalAuth.backendRef"},
		"origin":             {policyManifest("r", "  cors: {allowOrigins: ['nonsense']}"), nil, 1, "SecurityPolicy default/r: spec.cors"},
		"no such target":     {strings.Replace(policyManifest("x", "  cors: {allowOrigins: ['https://a.example']}"), "name: r}]", "name: x}]", 1), nil, 1, "SecurityPolicy default/x: spec.targetRefs: HTTPRoute default/x doesn't exist"},
		"unknown field":      {strings.Replace(routeManifest("s", prefix("/s"), "b"), "backendRefs", "backendRef", 1), nil, 1, "HTTPRoute default/s: spec.rules[0].backendRef"},
		"no such backend":    {routeManifest("s", prefix("/s"), "c"), nil, 1, "HTTPRoute default/s: spec.rules[0].backendRefs"},
		"syntax":             {"kind: [", nil, 1, "isn't valid YAML"},
		"canonical form":     {policyManifest("r", "  cors: {allowOrigins: ['https://a.example'], maxAge: 60}"), nil, 0, "(warning)"},
		"strict":             {policyManifest("r", "  cors: {allowOrigins: ['https://a.example'], maxAge: 60}"), []string{"--strict"}, 1, "(warning)"},
		"Envoy takes it":     {"", []string{"--envoy"}, 0, "0 errors"},
		"Envoy refuses it": {route("bad", "", fmt.Sprintf("matches: [{path: {type: RegularExpression, value: '%s'}}]\n%s", refusedByEnvoy, to("b"))),
			[]string{"--envoy", envoytest.Binary(t)}, 1, "HTTPRoute default/bad: spec.rules[0]: Envoy refuses"},
		"no Envoy":       {"", []string{"--envoy=/nonexistent/envoy"}, 3, "/nonexistent/envoy"},
		"stray argument": {"", []string{"x"}, 2, "unexpected argument"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := writeFile(t, base+"\n---\n"+test.manifest)
			stdout, stderr, code := command(t, append([]string{"validate", "-f", path}, test.args...)...)
			if code != test.code || !strings.Contains(stdout+stderr, test.says) {
				t.Fatalf("exit %d, want %d and %q in:\n%s%s", code, test.code, test.says, stdout, stderr)
			}
			for line := range strings.Lines(stderr) {
				if code == 1 && !strings.HasPrefix(line, path+":") {
					t.Errorf("no place in %q", line)
				}
			}
		})
	}
}

// TestExamplesAreValid: all of them, in Envoy too, without a warning.
func TestExamplesAreValid(t *testing.T) {
	t.Parallel()
	_, stderr, code := command(t, "validate", "-f", quickstart, "--envoy", "--strict")
	if code != 0 || stderr != "" {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
