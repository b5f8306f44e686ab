package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

const keysManifest = `
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData:
  ci: key-of-ci
  billing: key-of-billing
`

const keySpec = `  apiKeyAuth:
    credentialRefs: [{name: keys}]
    extractFrom: [{headers: [x-api-key, authorization]}, {params: [key]}, {cookies: [key]}]
    forwardClientIDHeader: x-client
    sanitize: true`

// TestAPIKeysProtectARoute: from every place, and the backend learns who it is but not the key.
func TestAPIKeysProtectARoute(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b"), policyManifest("r", keySpec), keysManifest))
	for name, test := range map[string]struct {
		path   string
		header []string
		client string // "" is a 401
		seen   string // path at the backend
		cookie string
	}{
		"none":                   {path: "/"},
		"wrong":                  {path: "/", header: []string{"x-api-key: key-of-c"}},
		"header":                 {path: "/", header: []string{"X-Api-Key: key-of-ci"}, client: "ci", seen: "/"},
		"bearer":                 {path: "/", header: []string{"Authorization: Bearer key-of-billing"}, client: "billing", seen: "/"},
		"parameter":              {path: "/p?a=1&key=key-of-ci&b=%20", client: "ci", seen: "/p?a=1&b=%20"},
		"only parameter":         {path: "/p?key=key-of-ci", client: "ci", seen: "/p"},
		"S16 parameter, escaped": {path: "/p?%6bey=key-of-ci;x", client: "ci", seen: "/p?x"},
		"cookie":                 {path: "/", header: []string{"Cookie: a=1; key=key-of-ci; b=2"}, client: "ci", seen: "/", cookie: "a=1; b=2"},
		"only cookie":            {path: "/", header: []string{"Cookie: key=key-of-ci"}, client: "ci", seen: "/"},
		"S13 two headers":        {path: "/", header: []string{"x-api-key: key-of-ci", "x-api-key: key-of-ci"}},
		"S13 two parameters":     {path: "/?key=key-of-ci&key=key-of-billing"},
		"the first place counts": {path: "/?key=key-of-billing", header: []string{"x-api-key: key-of-ci"}, client: "ci", seen: "/"},
		"S14 a forged identity":  {path: "/", header: []string{"x-api-key: key-of-ci", "x-client: root"}, client: "ci", seen: "/"},
	} {
		a := gatewaytest.Get(t, at(port, test.path), test.header...)
		if test.client == "" {
			if a.Status != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") != `ApiKey realm="default/r"` || strings.Contains(a.Body, "key-of") {
				t.Errorf("%s: %d %v %s", name, a.Status, a.Header, a.Body)
			}
			continue
		}
		if a.Status != http.StatusOK || strings.Join(a.Seen.Header.Values("X-Client"), "|") != test.client {
			t.Errorf("%s: %d, client %q", name, a.Status, a.Seen.Header)
		}
		if a.Seen.Path != test.seen || a.Seen.Header.Get("Cookie") != test.cookie || strings.Contains(a.Body, "key-of") {
			t.Errorf("%s: the backend saw %s %q", name, a.Seen.Path, a.Seen.Header)
		}
	}
}

// TestAPIKeyRotation: keys come and go with their Secret, without a restart and without a route update.
func TestAPIKeyRotation(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := all(gatewayManifest(port), backendManifest("b", backend.Port), routeManifest("r", prefix("/"), "b"), policyManifest("r", keySpec))
	manifests["keys.yaml"] = keysManifest
	g := gatewaytest.Start(t, manifests)
	if a := gatewaytest.Get(t, at(port, "/"), "x-api-key: key-of-ci"); a.Status != http.StatusOK {
		t.Fatalf("ci: %d, want 200", a.Status)
	}
	updates := g.AdminPage(t, routeUpdates)
	g.Write(t, "keys.yaml", strings.Replace(keysManifest, "ci: key-of-ci", "ci: new-key\n  robot: key-of-robot", 1))
	gatewaytest.Await(t, at(port, "/"), http.StatusUnauthorized, "x-api-key: key-of-ci")
	for _, key := range []string{"new-key", "key-of-robot", "key-of-billing"} {
		if a := gatewaytest.Get(t, at(port, "/"), "x-api-key: "+key); a.Status != http.StatusOK {
			t.Errorf("%s: %d, want 200", key, a.Status)
		}
	}
	if again := g.AdminPage(t, routeUpdates); again != updates {
		t.Errorf("the rotation updated routes: %s", again)
	}
	if strings.Contains(g.Output(), "key-of") {
		t.Error("the log shows a key")
	}
}

// TestAPIKeyOrPassword: with authMode Any one of them is enough.
func TestAPIKeyOrPassword(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	spec := strings.Replace(keySpec, ", authorization", "", 1) + "\n" + basicSpec
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), usersManifest, keysManifest,
		routeManifest("any", prefix("/any"), "b"), policyManifest("any", "  authMode: Any\n"+spec),
		routeManifest("all", prefix("/all"), "b"), policyManifest("all", spec)))
	const key, wrong = "x-api-key: key-of-ci", "x-api-key: wrong"
	for name, test := range map[string]struct {
		header   []string
		any, all int
	}{
		"neither":             {nil, 401, 401},
		"key":                 {[]string{key}, 200, 401},
		"password":            {[]string{basicAlice}, 200, 401},
		"both":                {[]string{key, basicAlice}, 200, 200},
		"wrong key":           {[]string{wrong}, 401, 401},
		"wrong key, password": {[]string{wrong, basicAlice}, 200, 401},
	} {
		for path, want := range map[string]int{"/any": test.any, "/all": test.all} {
			if a := gatewaytest.Get(t, at(port, path), test.header...); a.Status != want {
				t.Errorf("%s, %s: %d, want %d", name, path, a.Status, want)
			}
		}
	}
}
