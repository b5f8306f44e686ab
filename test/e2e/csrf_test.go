package e2e

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestCSRF: what changes something comes from pages of the site itself or of those that are named.
func TestCSRF(t *testing.T) {
	t.Parallel()
	backend, admin, port := gatewaytest.NewBackend(t, "b"), gatewaytest.NewBackend(t, "admin"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), usersManifest, backendManifest("b", backend.Port), backendManifest("admin", admin.Port),
		routeManifest("plain", prefix("/plain"), "b"), policyManifest("plain", "  csrf: {}"),
		routeManifest("named", prefix("/named"), "b"), policyManifest("named", basicSpec+corsSpec+`
  csrf: {additionalOrigins: ["https://app.example", "https://*.apps.example:8443"]}`),
		routeManifest("any", prefix("/any"), "b"), policyManifest("any", "  csrf: {additionalOrigins: ['*']}"),
		routeManifest("shadow", prefix("/shadow"), "b"), policyManifest("shadow", "  csrf: {shadowFraction: {numerator: 1, denominator: 1}}"),
		// A processor moves requests of /api to a route that only csrf guards.
		routeManifest("api", prefix("/api"), "b"), reroutingProcessor(t),
		routeManifest("moved", "{path: {type: PathPrefix, value: /api}, headers: [{name: x-role, value: admin}]}", "admin"), policyManifest("moved", "  csrf: {}")))
	own := fmt.Sprintf("Origin: http://127.0.0.1:%d", port)
	const post, get = http.MethodPost, http.MethodGet
	for name, test := range map[string]struct {
		method, path string
		header       []string
		want         int
	}{
		"own page":                             {post, "/plain", []string{own}, 200},
		"own page by referer":                  {post, "/plain", []string{fmt.Sprintf("Referer: http://127.0.0.1:%d/form", port)}, 200},
		"another page":                         {post, "/plain", []string{"Origin: https://evil.example"}, 403},
		"a page of a name that begins so":      {post, "/plain", []string{own + ".evil.example"}, 403},
		"neither origin nor referer":           {post, "/plain", nil, 403},
		"null":                                 {post, "/plain", []string{"Origin: null"}, 403},
		"another page that reads":              {get, "/plain", []string{"Origin: https://evil.example"}, 200},
		"another page that deletes":            {http.MethodDelete, "/plain", []string{"Origin: https://evil.example"}, 403},
		"named page":                           {post, "/named", []string{basicAlice, "Origin: https://app.example"}, 200},
		"named page below":                     {post, "/named", []string{basicAlice, "Origin: https://a.b.apps.example:8443"}, 200},
		"S36 page of the parent":               {post, "/named", []string{basicAlice, "Origin: https://apps.example:8443"}, 403},
		"S36 another port":                     {post, "/named", []string{basicAlice, "Origin: https://a.apps.example"}, 403},
		"S36 a name that ends so":              {post, "/named", []string{basicAlice, "Origin: https://xapp.example"}, 403},
		"S36 a name that goes on":              {post, "/named", []string{basicAlice, "Origin: https://app.example.evil"}, 403},
		"S10 dots aren't anything":             {post, "/named", []string{basicAlice, "Origin: https://app-example"}, 403},
		"the password comes first":             {post, "/named", []string{"Origin: https://evil.example"}, 401},
		"any page":                             {post, "/any", []string{"Origin: https://evil.example"}, 200},
		"no page at all":                       {post, "/any", nil, 403},
		"only counted":                         {post, "/shadow", []string{"Origin: https://evil.example"}, 200},
		"S51 moved here behind its own filter": {post, "/api", []string{"Origin: https://evil.example"}, 403},
	} {
		before := len(backend.Requests()) + len(admin.Requests())
		a := gatewaytest.Send(t, test.method, at(port, test.path), test.header...)
		if a.Status != test.want {
			t.Errorf("%s: %d, want %d: %s", name, a.Status, test.want, a.Body)
		}
		if reached := len(backend.Requests())+len(admin.Requests()) != before; reached != (test.want == 200) {
			t.Errorf("%s: reached a backend: %v", name, reached)
		}
	}
	if a := gatewaytest.Send(t, post, at(port, "/named"), basicAlice, origin, "Referer: https://evil.example/"); a.Status != 200 {
		t.Errorf("the origin counts before the referer: %d", a.Status)
	}
	checkCORS(t, "preflight", gatewaytest.Send(t, http.MethodOptions, at(port, "/named"), origin, "Access-Control-Request-Method: POST").Header)
}
