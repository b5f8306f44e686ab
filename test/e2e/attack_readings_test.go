package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAttackByWhatServersReadOtherwise: what Envoy lets through as it is and some server behind it takes for
// something else.
func TestAttackByWhatServersReadOtherwise(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	rego := func(rules string) string {
		return "\n  opa:\n    body: {maxBytes: 4096}\n    modules:\n    - type: Inline\n      inline: |\n        package envoy.authz\n        import rego.v1\n        " + rules
	}
	specs := map[string]string{
		"user": "  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}",
		"dry":  "  dryRun: true\n  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}",
		"rego": basicSpec + rego(`allow := {"allowed": true, "headers": {"x-user": input.identity.username}}`),
		"any":  jwtSpec(issuer, "      extractFrom: {headers: [{name: Authorization, valuePrefix: 'Bearer '}], cookies: [session]}\n      claimToHeaders: [{claim: sub, header: x-user}]\n    optional: true"),
		"body": "  authorization: {defaultAction: Allow}" + rego(`allow if input.parsed_body.role in ["user", ["user"]]`),
	}
	manifests := []string{gatewayManifest(port), usersManifest, backendManifest("b", backend.Port)}
	for name, spec := range specs {
		for suffix, enforcement := range map[string]string{"": "", "streamed": byExtProc} {
			manifests = append(manifests, routeManifest(name+suffix, prefix("/"+name+suffix), "b"), policyManifest(name+suffix, spec+enforcement))
		}
	}
	gatewaytest.Start(t, all(manifests...))
	carol, dave := issuer.Token(t, map[string]any{"sub": "carol"}), issuer.Token(t, map[string]any{"sub": "dave"})
	const (
		password = basicAlice + "\r\n"
		json     = "Content-Type: application/json\r\n"
		upgrade  = "Upgrade: websocket\r\nConnection: Upgrade, "
	)
	for name, c := range map[string]struct {
		path, lines, body string
		want              int
	}{
		"S16 an underscore":            {"user", password + "x_user: root\r\n", "", 400},
		"S16 in mixed case":            {"user", password + "X_uSER: root\r\nX-uSER: root\r\n", "", 400},
		"S16 dry run":                  {"dry", "X_User: root\r\nX-User: root\r\n", "", 400},
		"S16 of Rego":                  {"rego", password + "x_user: root\r\nX-USER: root\r\n", "", 400},
		"S16 without a token":          {"any", "x_user: root\r\n", "", 400},
		"S17 an upgrade":               {"user", password + upgrade + "X-User\r\n", "", 403},
		"S17 an upgrade, underscore":   {"user", password + upgrade + "x_user\r\n", "", 403},
		"S17 an upgrade, of Rego":      {"rego", password + upgrade + "X-User\r\n", "", 403},
		"S28 a token":                  {"any", "Authorization: Bearer " + carol + "\r\n", "", 200},
		"S28 a token behind a tab":     {"any", "Authorization: Bearer\t" + carol + "\r\n", "", 401},
		"S28 a token behind a blank":   {"any", "Authorization: Bearer\u00a0" + carol + "\r\n", "", 401},
		"S13 a cookie":                 {"any", "Cookie: session=\"" + carol + "\"\r\n", "", 200},
		"S13 its name with a blank":    {"any", "Cookie: session =" + dave + "; session=" + carol + "\r\n", "", 401},
		"S13 cookies by a comma":       {"any", "Cookie: a=b,session=" + dave + "; session=" + carol + "\r\n", "", 401},
		"S13 two cookie lines":         {"any", "Cookie: session=" + dave + "\r\nCookie: session=" + carol + "\r\n", "", 401},
		"S13 a cookie and a parameter": {"any?access_token=" + dave, "Cookie: session=" + carol + "\r\n", "", 200}, // no place of this policy
		"S46 a body":                   {"body", json, `{"role":"user"}`, 200},
		"S46 a form":                   {"body", "Content-Type: application/x-www-form-urlencoded\r\n", "role=user", 200},
		"S46 another role":             {"body", json, `{"role":"admin"}`, 403},
		"S46 another charset":          {"body", "Content-Type: application/json; charset=utf-7\r\n", `{"role":"user","+AHIAbwBsAGU-":"admin"}`, 403},
		"S46 another coding":           {"body", json + "Content-Encoding: deflate\r\n", `{"role":"user"}`, 403},
		"S46 two codings":              {"body", json + "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n", `{"role":"user"}`, 403},
		"S46 a coding in a list":       {"body", json + "Content-Encoding: identity, br\r\n", `{"role":"user"}`, 403},
		"S46 a role twice":             {"body", json, `{"role":"user","r\u006fle":"admin"}`, 403},
		"S46 two types":                {"body", json + "Content-Type: text/plain\r\n", `{"role":"user"}`, 403},
		"S46 a byte order mark":        {"body", json, "\ufeff" + `{"role":"user"}`, 403},
		"S46 not UTF-8":                {"body", json, "{\"role\":\"user\",\"a\":\"\xff\"}", 403},
		"S46 too long":                 {"body", json, `{"role":"user"` + strings.Repeat(" ", 4096) + "}", 413},
	} {
		for _, suffix := range []string{"", "streamed"} {
			path, query, _ := strings.Cut(c.path, "?")
			before := len(backend.Requests())
			status, body := exchangeRaw(t, port, fmt.Sprintf("POST /%s%s?%s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n%s\r\n%s", path, suffix, query, len(c.body), c.lines, c.body))
			if status != c.want {
				t.Errorf("%s%s: %d, want %d: %s", name, suffix, status, c.want, body)
			}
			reached := backend.Requests()[before:]
			if (len(reached) == 1) != (c.want == 200) {
				t.Errorf("%s%s: %d requests at the backend", name, suffix, len(reached))
			}
			for _, seen := range reached {
				if fault := forged(seen, path); fault != "" {
					t.Errorf("%s%s: %s", name, suffix, fault)
				}
			}
		}
	}
}
