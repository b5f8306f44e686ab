package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// mark is in every secret of this test, and in nothing else. encoded is how it looks in base64, which hides the
// neighbouring letters of three.
const mark, encoded = "hunter2hunter2", "aHVudGVyMmh1bnRlcj"

// faultySecrets are Secrets that can't be used, by the spec of a policy that does; NAME is the policy's.
var faultySecrets = map[string]string{
	"  basicAuth: {users: {name: NAME}}": `.htpasswd: "alice:MARK"|.htpasswd: MARK|.htpasswd: "alice:{SHA}MARK"|.htpasswd: "MARK:{SSHA}x"|.htpasswd: "alice:$6$rounds=99999999$MARK$MARK"|` +
		`.htpasswd: "alice:{MARK}x"|.htpasswd: "alice:$2y$99$MARKMARKMARKMARK"|htpasswd: "alice:MARK"|.htpasswd: "a\u0001MARK:x"`,
	"  apiKeyAuth: {credentialRefs: [{name: NAME}], extractFrom: [{headers: [x-api-key]}]}":                                                                                                       `{a: MARK, b: MARK}|a: "MARK\n"|{a: "", b: MARK}|a: " MARK"`,
	"  opa: {modules: [{type: ValueRef, valueRef: {kind: Secret, name: NAME}}]}":                                                                                                                  `a.rego: "package envoy.authz\nx := \"MARK"|a.rego: "package envoy.authz\nallow if \"MARK\" == 1"|a.rego: MARK|{a.rego: "package envoy.authz\nallow := true", d.json: "[\"MARK\"]"}|{a.rego: "package envoy.authz\nallow := true", d.yaml: "a: MARK: b"}`,
	"  jwt: {providers: [{name: p, issuer: i, localJWKS: {type: ValueRef, valueRef: {kind: Secret, name: NAME}}}]}":                                                                               `jwks: MARK|jwks: "{\"keys\":\"MARK\"}"|jwks: "{\"keys\":[{\"kty\":\"oct\",\"k\":\"MARK\",\"alg\":\"MARK\"}]}"|jwks: "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"MARK!\",\"e\":\"AQAB\",\"d\":\"MARK\"}]}"`,
	"  opa: {bundles: [{url: 'https://127.0.0.1:1/b?t=MARK', signing: {keyRef: {kind: Secret, name: NAME}}}]}":                                                                                    `key: MARK|key: "-----BEGIN RSA PRIVATE KEY-----\nMARK\n-----END RSA PRIVATE KEY-----"`,
	"  jwt: {providers: [{name: p, issuer: i, remoteJWKS: {uri: 'https://127.0.0.1:1/jwks?t=MARK'}}]}":                                                                                            "a: b",
	"  jwt: {providers: [{name: p, issuer: i, remoteJWKS: {allowPrivateAddresses: true, uri: 'https://127.0.0.1:1/?t=MARK'}}]}":                                                                   "a: b",
	"  jwt: {providers: [{name: p, issuer: i, remoteJWKS: {uri: 'https://x:MARK@idp.example/jwks'}}]}":                                                                                            "a: b",
	"  jwt: {providers: [{name: p, issuer: i, remoteJWKS: {uri: 'https://idp.example/%zz?t=MARK'}}]}":                                                                                             "a: b",
	"  opa: {bundles: [{allowPrivateAddresses: true, url: 'https://127.0.0.1:1/b?t=MARK'}]}":                                                                                                      "a: b",
	"  oidc: {provider: {issuer: 'https://127.0.0.1:1/?t=MARK'}, clientID: c, clientSecret: {name: NAME}}":                                                                                        "client-secret: MARK",
	"  oidc: {provider: {issuer: 'https://idp.example', authorizationEndpoint: 'https://idp.example/a', tokenEndpoint: 'https://x:MARK@idp.example/t'}, clientID: c, clientSecret: {name: NAME}}": "client-secret: MARK",
	"  oidc: {provider: {issuer: 'https://idp.example', authorizationEndpoint: 'https://idp.example/a', tokenEndpoint: 'https://idp.example/t'}, clientID: c, clientSecret: {name: NAME}}":        "client-secret: MARK",
}

// TestS47NoSecretIsTold: neither what is wrong with a Secret nor what requests bring is in a log, a status, an answer
// or a page of the operator ports with more than its name.
func TestS47NoSecretIsTold(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	n := 0
	manifests := []string{gatewayManifest(port), backendManifest("b", backend.Port)}
	for spec, secrets := range faultySecrets {
		for data := range strings.SplitSeq(secrets, "|") {
			name := fmt.Sprintf("r%d", n)
			n++
			if strings.HasPrefix(data, "{") {
				data = "stringData: " + data
			} else {
				data = "stringData: {" + data + "}"
			}
			manifest := "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\n" + data + "\n---\n" + routeManifest(name, prefix("/"+name), "b") + "---" + policyManifest(name, spec)
			manifests = append(manifests, strings.NewReplacer("MARK", mark, "NAME", name).Replace(manifest))
		}
	}
	broken := "apiVersion: v1\nkind: Secret\nmetadata: {name: bad}\n"
	certificate := strings.NewReplacer("{name: gw}", "{name: tls}", "protocol: HTTP}", "protocol: HTTPS, tls: {certificateRefs: [{name: tls}]}}").Replace(gatewayManifest(freePort(t)))
	manifests = append(manifests,
		broken+"data: {a: "+mark+"***}\n", broken+"stringData: {a: ["+mark+"]}\n", broken+"stringData: {b: "+mark+": "+mark+"}\n", broken+"a: "+mark+"\n",
		certificate, "apiVersion: v1\nkind: Secret\nmetadata: {name: tls}\nstringData: {tls.crt: "+mark+", tls.key: \"-----BEGIN PRIVATE KEY-----\\n"+mark+"\\n-----END PRIVATE KEY-----\"}\n",
		strings.Replace(usersManifest, "{name: users}", "{name: good}", 1), routeManifest("good", prefix("/good"), "b"), policyManifest("good", "  basicAuth: {users: {name: good}}"))
	files := all(manifests...)
	g := gatewaytest.Start(t, files, gatewaytest.Args("--log-level", "debug"))

	told := func(where, text string) {
		t.Helper()
		for _, secret := range []string{mark, encoded} {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s: …%s…", where, text[max(0, at-150):min(len(text), at+40)])
			}
		}
	}
	password := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(mark+":"+mark))
	paths := []string{"/good", "/nowhere"}
	for i := range n {
		paths = append(paths, fmt.Sprintf("/r%d", i))
	}
	for _, path := range paths {
		for _, header := range [][]string{{password}, {"Authorization: Bearer " + mark}, {"x-api-key: " + mark, "Cookie: a=" + mark}, {password, password, "x\t: " + mark}, {"traceparent: " + mark, "x-request-id: " + mark}} {
			// The id of a request is the client's to choose, and is in the log for it to be found.
			if strings.HasPrefix(header[0], "traceparent") && path != "/nowhere" {
				continue
			}
			if a, err := gatewaytest.Try(http.MethodGet, at(port, path+"?access_token="+mark+"&a="+mark), header[0]); err == nil && a.Status != http.StatusFound { // the way back from a login has the query
				told(path+"'s answer", a.Body+fmt.Sprint(a.Header))
			}
		}
	}
	gatewaytest.Eventually(t, "access log", func() error {
		if !strings.Contains(g.Output(), "\"path\":\"/nowhere\"") {
			return fmt.Errorf("nothing of the last request")
		}
		return nil
	})
	told("the log", g.Output())
	for _, page := range []string{"/api/status", "/api/sources", "/console/", "/config_dump", "/config_dump?resource=routes", "/config_dump?resource=listeners", "/stats", "/certs", "/clusters"} {
		told(page, g.AdminPage(t, page))
	}
	file := writeFile(t, files["all.yaml"])
	for _, args := range [][]string{{"validate"}, {"status", "-o", "yaml"}, {"translate"}, {"audit"}, {"explain", "GET", at(port, "/good?a="+mark), "-H", password}} {
		stdout, stderr, _ := command(t, append([]string{args[0], "-f", file}, args[1:]...)...)
		told("gatehouse "+args[0], stdout+stderr)
	}
}
