package resource_test

import (
	"encoding/json"
	"strings"
	"testing"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// build makes a set of one file.
func build(text string) (*resource.Set, []resource.Problem) {
	builder := resource.NewBuilder(nil)
	for _, chunk := range resource.Split([]byte(text)) {
		builder.Add(resource.Decode(chunk.Text), resource.Origin{File: "f", Line: chunk.Line})
	}
	return builder.Build()
}

// policy is a SecurityPolicy with a spec of flow-style fields beside its target. The spec is on line 4.
func policy(spec string) string {
	return "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p}\nspec:\n" +
		"  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]\n" + spec
}

func extension(spec string) string {
	return strings.Replace(policy(spec), "SecurityPolicy", "EnvoyExtensionPolicy", 1)
}

func problemTexts(problems []resource.Problem) []string {
	var texts []string
	for _, p := range problems {
		texts = append(texts, p.String())
	}
	return texts
}

const provider = "  jwt: {providers: [{name: a, %, remoteJWKS: {uri: https://i/jwks}}]}\n"

func grpcAuth(fields string) string {
	return "  extAuth: {grpc: {backendRefs: [{name: a, port: 1}]}, " + fields + "}\n"
}

func httpAuth(fields string) string {
	return "  extAuth: {http: {backendRefs: [{name: a, port: 1}], " + fields + "}}\n"
}

func TestFaultsOfAPolicyAreReportedAndItsTargetsAreKept(t *testing.T) {
	t.Parallel()
	const p = "SecurityPolicy default/p: "
	for name, c := range map[string]struct{ text, want string }{
		"unknown field":     {policy("  cors:\n    allowOrigin: [a]\n"), "f:7: " + p + "spec.cors.allowOrigin: is not a known field; did you mean allowOrigins?"},
		"unknown own field": {policy("  opa:\n    modules: [{inline: x}]\n    desicion: a/b\n"), "f:8: " + p + "spec.opa.desicion: is not a known field; did you mean decision?"},
		"case of a field":   {policy("  basicauth: {users: {name: s}}\n"), "f:6: " + p + "spec.basicauth: is not a known field; did you mean basicAuth?"},
		"a field far from any": {policy("  extAuth: {grpc: {backendRefs: [{name: a, port: 1}]}, xyzzy: 1}\n"),
			"f:6: " + p + "spec.extAuth.xyzzy: is not a known field; known here are bodyToExtAuth, contextExtensions,"},
		"integer for a string":   {policy(strings.Replace(provider, "%", "issuer: 5", 1)), "f:6: " + p + "spec.jwt.providers[0].issuer: must be a string, not an integer: put it in quotes"},
		"string for an integer":  {policy("  extAuth:\n    grpc:\n      backendRefs:\n      - name: a\n        port: x\n"), "f:10: " + p + "spec.extAuth.grpc.backendRefs[0].port: must be a number, not a string: leave the quotes out"},
		"port beyond its type":   {policy("  extAuth: {grpc: {backendRefs: [{name: a, port: 99999999999}]}}\n"), "f:6: " + p + "spec.extAuth.grpc.backendRefs[0].port: must be a number that fits a int32"},
		"string for a list":      {policy("  cors: {allowOrigins: a}\n"), "f:6: " + p + "spec.cors.allowOrigins: must be a list, not a string"},
		"string for an object":   {policy("  cors: a\n"), "f:6: " + p + "spec.cors: must be an object with fields, not a string"},
		"yes for a boolean":      {policy("  extAuth: {grpc: {backendRefs: [{name: a, port: 1}]}, failOpen: no}\n"), "f:6: " + p + "spec.extAuth.failOpen: must be true or false, not a string"},
		"duration without unit":  {policy("  cors: {maxAge: '10'}\n"), "f:6: " + p + "spec.cors.maxAge: must be a duration such as 10s, 1500ms or 1h30m"},
		"a key twice":            {policy("  cors: {}\n  cors: {}\n"), `f:7: ` + p + `the key "cors" is here twice`},
		"nothing below a key":    {policy("  basicAuth:\n"), "f:6: " + p + "spec.basicAuth: is empty"},
		"authMode":               {policy("  authMode: any\n"), "f:6: " + p + "spec.authMode: must be one of All, Any"},
		"enforcement":            {policy("  enforcement: None\n"), "f:6: " + p + "spec.enforcement: must be one of ExtAuthz, ExtProc"},
		"rego version":           {policy("  opa: {regoVersion: V2, modules: [{inline: x}]}\n"), "f:6: " + p + "spec.opa.regoVersion: must be one of V0, V1"},
		"module type":            {policy("  opa: {modules: [{type: Inlined, inline: x}]}\n"), "f:6: " + p + "spec.opa.modules[0].type: must be one of Inline, ValueRef"},
		"module type and value":  {policy("  opa: {modules: [{type: ValueRef, inline: x}]}\n"), "f:6: " + p + "spec.opa.modules[0].type: says ValueRef"},
		"module of nothing":      {policy("  opa: {modules: [{type: Inline}]}\n"), "f:6: " + p + "spec.opa.modules[0]: needs inline or valueRef"},
		"no Rego":                {policy("  opa: {}\n"), "f:6: " + p + "spec.opa: has no policy"},
		"Rego timeout":           {policy("  opa: {timeout: 2, modules: [{inline: x}]}\n"), "f:6: " + p + "spec.opa.timeout: must be more than 0s and at most 1500ms"},
		"Rego body":              {policy("  opa: {body: {maxBytes: 0}, modules: [{inline: x}]}\n"), "f:6: " + p + "spec.opa.body.maxBytes: must be at least 1"},
		"claim format":           {policy(strings.Replace(provider, "%", "claimToHeaders: [{claim: a, header: b, format: csv}]", 1)), "f:6: " + p + "spec.jwt.providers[0].claimToHeaders[0].format: must be one of String, CSV, JSON"},
		"no keys":                {policy("  jwt: {providers: [{name: a}]}\n"), "f:6: " + p + "spec.jwt.providers[0]: needs one of localJWKS and remoteJWKS"},
		"keys from two places":   {policy(strings.Replace(provider, "%", "localJWKS: {inline: x}", 1)), "f:6: " + p + "spec.jwt.providers[0]: has localJWKS and remoteJWKS"},
		"no provider":            {policy("  jwt: {providers: []}\n"), "f:6: " + p + "spec.jwt.providers: is missing"},
		"JWKS address":           {policy("  jwt: {providers: [{name: a, remoteJWKS: {uri: file:///etc/passwd}}]}\n"), "f:6: " + p + "spec.jwt.providers[0].remoteJWKS.uri: must be an https URL"},
		"no htpasswd Secret":     {policy("  basicAuth: {users: {}}\n"), "f:6: " + p + "spec.basicAuth.users.name: is missing"},
		"extAuth of nothing":     {policy("  extAuth: {failOpen: true}\n"), "f:6: " + p + "spec.extAuth: needs one of grpc and http"},
		"extAuth without server": {policy("  extAuth: {grpc: {}}\n"), "f:6: " + p + "spec.extAuth.grpc.backendRefs: is missing"},
		"extAuth by two":         {policy("  extAuth: {grpc: {backendRefs: [{name: a, port: 1}]}, http: {backendRefs: [{name: a, port: 1}]}}\n"), "f:6: " + p + "spec.extAuth: has grpc and http"},
		"extAuth paths":          {policy(httpAuth("path: /a, pathOverride: /b")), "f:6: " + p + "spec.extAuth.http.pathOverride: and path are both set"},
		"extAuth path":           {policy(httpAuth("path: a")), "f:6: " + p + "spec.extAuth.http.path: must begin with /"},
		"extAuth path and query": {policy(httpAuth("pathOverride: '/a?b'")), "f:6: " + p + "spec.extAuth.http.pathOverride: must begin with /"},
		"extAuth path, line end": {policy(httpAuth(`path: "/a\r\nb"`)), "f:6: " + p + "spec.extAuth.http.path: must begin with /"},
		"extAuth status":         {policy(grpcAuth("statusOnError: 200")), "f:6: " + p + "spec.extAuth.statusOnError: must be a status of an error"},
		"extAuth odd status":     {policy(grpcAuth("statusOnError: 499")), "f:6: " + p + "spec.extAuth.statusOnError: must be a status of an error"},
		"extAuth body":           {policy(grpcAuth("bodyToExtAuth: {maxRequestBytes: 0}")), "f:6: " + p + "spec.extAuth.bodyToExtAuth.maxRequestBytes: must be at least 1"},
		"context of HTTP":        {policy(strings.Replace(httpAuth("path: /a"), "http:", "contextExtensions: [{name: a, type: Value, value: b}], http:", 1)), "f:6: " + p + "spec.extAuth.contextExtensions: is for grpc"},
		"metadata of HTTP":       {policy(strings.Replace(httpAuth("path: /a"), "http:", "includeRouteMetadata: true, http:", 1)), "f:6: " + p + "spec.extAuth.includeRouteMetadata: is for grpc"},
		"context of nothing":     {policy(grpcAuth("contextExtensions: [{name: a, type: Value}]")), "f:6: " + p + "spec.extAuth.contextExtensions[0]: needs one of value and valueRef"},
		"S44 context of ours":    {policy(grpcAuth("contextExtensions: [{name: gatehouse.policy, type: Value, value: b}]")), "f:6: " + p + "spec.extAuth.contextExtensions[0].name: must not begin with gatehouse."},
		"context of two":         {policy(grpcAuth("contextExtensions: [{name: a, type: Value, value: b, valueRef: {kind: Secret, name: s, key: k}}]")), "f:6: " + p + "spec.extAuth.contextExtensions[0]: needs one of"},
		"context type":           {policy(grpcAuth("contextExtensions: [{name: a, type: Value, valueRef: {kind: Secret, name: s, key: k}}]")), "f:6: " + p + "spec.extAuth.contextExtensions[0].type: must be ValueRef"},
		"context key":            {policy(grpcAuth("contextExtensions: [{name: a, type: ValueRef, valueRef: {kind: Secret, name: s, key: ''}}]")), "f:6: " + p + "spec.extAuth.contextExtensions[0].valueRef.key: is missing"},
		"context kind":           {policy(grpcAuth("contextExtensions: [{name: a, type: ValueRef, valueRef: {kind: Pod, name: s, key: k}}]")), "f:6: " + p + "spec.extAuth.contextExtensions[0].valueRef.kind: must be one of ConfigMap, Secret"},
		"authorization action":   {policy("  authorization: {defaultAction: deny}\n"), "f:6: " + p + "spec.authorization.defaultAction: must be one of Allow, Deny"},
		"contradiction":          {policy("  extAuth: {grpc: {backendRef: {name: a}, backendRefs: [{name: a}]}}\n"), "f:6: " + p + "spec.extAuth.grpc.backendRef: contradicts"},
		"version":                {strings.Replace(policy("  cors: {}\n"), "v1alpha1", "v1", 1), "f:1: " + p + "apiVersion: there is no gateway.envoyproxy.io/v1 SecurityPolicy; write gateway.envoyproxy.io/v1alpha1"},
		"misspelt kind":          {strings.Replace(policy("  cors: {}\n"), "SecurityPolicy", "SecurityPolcy", 1), "f:2: " + p + "kind: there is no kind SecurityPolcy in gateway.envoyproxy.io; did you mean SecurityPolicy?"},
		"misspelt group":         {strings.Replace(policy("  cors: {}\n"), "envoyproxy.io", "envoyproxy.com", 1), "f:1: " + p + "apiVersion: there is no SecurityPolicy in this group; did you mean gateway.envoyproxy.io/v1alpha1?"},
		"syntax below target":    {policy("  cors:\n    allowOrigins: [a\n    allowMethods: ]\n  jwt: {\n"), p + "isn't valid YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, problems := build(c.text)
			if len(problems) == 0 || !strings.Contains(problems[0].String(), c.want) {
				t.Errorf("problems are\n%s\nwant\n%s", strings.Join(problemTexts(problems), "\n"), c.want)
			}
			kept, ok := set.SecurityPolicies.Get("default", "p")
			if !ok {
				t.Fatal("the policy isn't in the set")
			}
			if kept.Invalid == "" || set.Invalid(resource.Key{Kind: "SecurityPolicy", Namespace: "default", Name: "p"}) != kept.Invalid {
				t.Errorf("invalid is %q", kept.Invalid)
			}
			if len(kept.Spec.TargetRefs) != 1 || kept.Spec.TargetRefs[0].Name != "r" {
				t.Errorf("targets are %v", kept.Spec.TargetRefs)
			}
		})
	}
}

func TestMisspeltTargetsAreKept(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"targetRfs: [@]", "targetsRef: @", "TargetRefs: [@]", "targetref: [@]", "targetReffs: @"} {
		target = strings.Replace(target, "@", "{group: gateway.networking.k8s.io, kind: Gateway, name: g}", 1)
		set, problems := build("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p}\nspec:\n  " + target + "\n  cors: {}\n")
		p, ok := set.SecurityPolicies.Get("default", "p")
		if !ok || p.Invalid == "" || len(problems) != 1 || !strings.HasPrefix(problems[0].String(), "f:5: ") {
			t.Fatalf("%s: problems %v", target, problemTexts(problems))
		}
		if targets := p.Spec.GetTargetRefs(); len(targets) != 1 || targets[0].Name != "g" {
			t.Errorf("%s: targets %v", target, targets)
		}
	}
}

func TestFaultOfAnExtensionPolicyKeepsItsTargets(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"body mode":  extension("  extProc: [{backendRefs: [{name: a, port: 1}], processingMode: {request: {body: All}}}]\n"),
		"no server":  extension("  extProc: [{}]\n"),
		"misspelt":   extension("  extProcs: [{}]\n"),
		"bad header": extension("  extProc: [{backendRefs: [{name: a, port: 1}], processingMode: {requestHeaderMode: YES}}]\n"),
	} {
		set, problems := build(text)
		kept, ok := set.EnvoyExtensionPolicies.Get("default", "p")
		if !ok || kept.Invalid == "" || len(kept.Spec.TargetRefs) != 1 || len(problems) == 0 {
			t.Errorf("%s: kept %v, problems %v", name, ok, problems)
		}
	}
}

func TestPoliciesWithoutUsableNameAreKept(t *testing.T) {
	t.Parallel()
	for name, metadata := range map[string]string{
		"none": "", "empty": "metadata: {name: ''}", "number": "metadata: {name: 5}", "upper case": "metadata: {name: P}", "text": "metadata: p",
	} {
		set, problems := build(strings.Replace(policy("  cors: {}\n"), "metadata: {name: p}", metadata, 1))
		all := set.SecurityPolicies.All()
		if len(all) != 1 || all[0].Invalid == "" || len(all[0].Spec.TargetRefs) != 1 || len(problems) == 0 {
			t.Errorf("%s: %d policies, problems %v", name, len(all), problems)
		}
	}
}

func TestOwnFieldsAreDecodedBesideEnvoyGateways(t *testing.T) {
	t.Parallel()
	set, problems := build(policy(`
  authMode: Any
  enforcement: ExtProc
  dryRun: true
  basicAuth: {users: {name: s}, realm: team, allowPlaintext: true}
  jwt:
    providers:
    - {name: a, localJWKS: {type: Inline, inline: '{}'}}
    - name: b
      clockSkew: 30s
      requireExpiration: true
      remoteJWKS: {uri: https://i/jwks, caCertificateRef: {kind: ConfigMap, name: ca}, maxStale: 24h, allowPrivateAddresses: true}
      claimToHeaders: [{claim: sub, header: x}, {claim: roles, header: y, format: CSV}]
  extAuth: {grpc: {backendRefs: [{name: a, port: 1}]}, headersToBackend: [x-a]}
  opa:
    modules: [{inline: package a}, {type: ValueRef, valueRef: {kind: ConfigMap, name: rules}}]
    bundles: [{url: https://b, pollInterval: 60s, signing: {keyRef: {kind: Secret, name: k}}}]
    decision: a/b
    body: {maxBytes: 8192}
    timeout: 100ms
    regoVersion: V0
    decisionLog: {sink: Stdout, mask: [/input]}
`))
	if len(problems) != 0 {
		t.Fatal(problemTexts(problems))
	}
	p, _ := set.SecurityPolicies.Get("default", "p")
	own, err := json.Marshal(p.Own)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(own, &got); err != nil {
		t.Fatal(err)
	}
	const text = `{"spec": {
		"authMode": "Any", "enforcement": "ExtProc", "dryRun": true,
		"basicAuth": {"realm": "team", "allowPlaintext": true},
		"jwt": {"providers": [{}, {"clockSkew": "30s", "requireExpiration": true,
			"remoteJWKS": {"caCertificateRef": {"group": "", "kind": "ConfigMap", "name": "ca"}, "maxStale": "24h", "allowPrivateAddresses": true},
			"claimToHeaders": [{}, {"format": "CSV"}]}]},
		"extAuth": {"headersToBackend": ["x-a"]},
		"opa": {"modules": [{"type": "Inline", "inline": "package a"}, {"type": "ValueRef", "valueRef": {"group": "", "kind": "ConfigMap", "name": "rules"}}],
			"bundles": [{"url": "https://b", "pollInterval": "60s", "signing": {"keyRef": {"group": "", "kind": "Secret", "name": "k"}}}],
			"decision": "a/b", "body": {"maxBytes": 8192}, "timeout": "100ms", "regoVersion": "V0",
			"decisionLog": {"sink": "Stdout", "mask": ["/input"]}}}}`
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(p.Spec.JWT.Providers) != 2 || p.Spec.JWT.Providers[1].ClaimToHeaders[1].Claim != "roles" || p.Spec.BasicAuth.Users.Name != "s" {
		t.Errorf("Envoy Gateway's part is %+v", p.Spec)
	}
	again, err := resource.DecodeSecurityPolicy(p.JSON)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.Own, again.Own); diff != "" || !cmp.Equal(p.Spec, again.Spec) {
		t.Error("decoding its JSON gives another policy:", diff)
	}
}

func TestHandbookExtProcKeepsWhatEnvoyGatewayHasNoFieldFor(t *testing.T) {
	t.Parallel()
	set, problems := build(extension(`
  extProc:
    backendRef: {name: a, port: 1}
    processingMode: {requestHeaderMode: SKIP, requestBodyMode: STREAMED, responseHeaderMode: SEND, responseTrailerMode: SEND}
`))
	if len(problems) != 0 {
		t.Fatal(problemTexts(problems))
	}
	p, _ := set.EnvoyExtensionPolicies.Get("default", "p")
	streamed := egv1alpha1.StreamedExtProcBodyProcessingMode
	want := &egv1alpha1.ExtProcProcessingMode{
		Request: &egv1alpha1.ProcessingModeOptions{Body: &streamed}, Response: &egv1alpha1.ProcessingModeOptions{},
	}
	if diff := cmp.Diff(want, p.Spec.ExtProc[0].ProcessingMode); diff != "" {
		t.Error(diff)
	}
	own := p.Own.Spec.ExtProc[0].ProcessingMode
	if !own.ResponseTrailers || own.RequestTrailers || own.Request == nil || !own.Request.SkipHeaders || own.Response == nil || own.Response.SkipHeaders {
		t.Errorf("own part is %+v", own)
	}
	if got := p.Spec.ExtProc[0].BackendRefs; len(got) != 1 || got[0].Name != "a" || *got[0].Port != 1 {
		t.Errorf("backends are %v", got)
	}
	if len(set.Warnings(resource.Key{Kind: "EnvoyExtensionPolicy", Namespace: "default", Name: "p"})) < 5 {
		t.Error("warnings are missing")
	}
	if _, err := resource.DecodeEnvoyExtensionPolicy(p.JSON); err != nil {
		t.Error(err)
	}
}
