package e2e

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// describer is a provider that describes itself as text says; "" is an outage.
type describer struct {
	*provider

	mu   sync.Mutex
	text string
}

func newDescriber(t *testing.T) *describer {
	t.Helper()
	d := &describer{provider: newProvider(t)}
	mux := http.NewServeMux()
	mux.HandleFunc("/authorize", d.authorize)
	mux.HandleFunc("/other/authorize", d.authorize)
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) { d.token(t, w, r) })
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.text == "" {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Cache-Control", "max-age=5")
		fmt.Fprint(w, d.text)
	})
	server := httptest.NewServer(mux)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(server.Close)
	d.URL = server.URL
	return d
}

// says has the provider describe itself, as issuer and with a login page of that path.
func (d *describer) says(issuer, login string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.text = ""
	if issuer != "" {
		d.text = fmt.Sprintf(`{"issuer": %q, "authorization_endpoint": "%s%s", "token_endpoint": "%s/token"}`, issuer, d.URL, login, d.URL)
	}
}

// TestOIDCDiscovery: a provider that is named by its issuer alone. Until it has said where it is its policies
// answer 503 and nothing else does; then a login works, without a restart; what it says later is followed if it
// is sound, and outlives the provider.
func TestOIDCDiscovery(t *testing.T) {
	t.Parallel()
	idp, backend, port := newDescriber(t), gatewaytest.NewBackend(t, "b"), freePort(t)
	const host = "Host: app.example"
	manifests := all(gatewayManifest(port), backendManifest("b", backend.Port), oidcSecret, hostRoute("app"), hostRoute("free"),
		policyManifest("app", fmt.Sprintf("  oidc: {provider: {issuer: %q}, clientID: shop, clientSecret: {name: oidc}}", idp.URL)))
	g := gatewaytest.Start(t, manifests)
	awaitStatus(t, g, "SecurityPolicy", "app", "ProviderUnavailable", "the server answered 502", "authorizationEndpoint")
	if a := gatewaytest.Get(t, at(port, "/"), host); a.Status != http.StatusServiceUnavailable {
		t.Errorf("without a description: %d, want 503", a.Status)
	}
	if a := gatewaytest.Get(t, at(port, "/"), "Host: free.example"); a.Status != http.StatusOK {
		t.Errorf("another route: %d, want 200", a.Status)
	}

	idp.says(idp.URL, "/authorize")
	gatewaytest.Await(t, at(port, "/"), http.StatusFound, host)
	user := &browser{cookies: map[string]string{}}
	callback := user.login(t, at(port, "/page"), host)
	if a := user.get(t, strings.Replace(callback, "http://app.example", at(port, ""), 1), host); a.Status != http.StatusFound {
		t.Fatalf("callback: %d %s", a.Status, a.Body)
	}
	if a := user.get(t, at(port, "/page"), host); a.Status != http.StatusOK || a.Seen.Path != "/page" {
		t.Errorf("with a session: %d", a.Status)
	}
	awaitStatus(t, g, "SecurityPolicy", "app", "ResolvedRefs")
	if page := g.AdminPage(t, "/api/sources"); !strings.Contains(page, `"url":"`+idp.URL+`/.well-known/openid-configuration","lastSuccess"`) {
		t.Errorf("/api/sources: %s", page)
	}

	idp.says(idp.URL, "/other/authorize")
	gatewaytest.Eventually(t, "the changed login page", func() error { return loginAt(t, port, host, idp.URL+"/other/authorize") })
	if a := user.get(t, at(port, "/page"), host); a.Status != http.StatusOK {
		t.Errorf("with the session of before: %d", a.Status)
	}
	idp.says("https://evil.example", "/authorize")
	awaitStatus(t, g, "SecurityPolicy", "app", "ProviderStale", "another issuer")
	if err := loginAt(t, port, host, idp.URL+"/other/authorize"); err != nil {
		t.Errorf("after a bad description: %v", err)
	}
	g.Stop(t)

	idp.says("", "")
	gatewaytest.Start(t, manifests, gatewaytest.Args("--state", g.State))
	if err := loginAt(t, port, host, idp.URL+"/other/authorize"); err != nil {
		t.Errorf("after a restart without the provider: %v", err)
	}
	stdout, stderr, _ := command(t, "translate", "-f", g.Dir, "--state", g.State, "--type", "route")
	if !strings.Contains(stdout, idp.URL+"/other/authorize") || strings.Contains(stderr, "openid-configuration") {
		t.Errorf("translate doesn't take what the gateway has fetched: %s", stderr)
	}
	_, stderr, code := command(t, "translate", "-f", g.Dir, "--state", t.TempDir(), "--type", "route")
	if !strings.Contains(stderr, "spec.oidc.provider: a gateway fetches "+idp.URL) || code != 0 {
		t.Errorf("translate says nothing of what is missing: %d %s", code, stderr)
	}
}

// TestOIDCTokenEndpointTakesItsOwnMethod: the client's secret is sent as the provider says that it takes it.
func TestOIDCTokenEndpointTakesItsOwnMethod(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		says   string
		inBody bool // what the token endpoint really takes
	}{
		"body": {`["client_secret_post", "none"]`, true},
		"both": {`["client_secret_post", "client_secret_basic"]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp, backend, port := newDescriber(t), gatewaytest.NewBackend(t, "b"), freePort(t)
			idp.says(idp.URL, "/authorize")
			idp.inBody, idp.text = test.inBody, strings.TrimSuffix(idp.text, "}")+`, "token_endpoint_auth_methods_supported": `+test.says+"}"
			const host = "Host: app.example"
			gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), oidcSecret, hostRoute("app"),
				policyManifest("app", fmt.Sprintf("  oidc: {provider: {issuer: %q}, clientID: shop, clientSecret: {name: oidc}}", idp.URL))))
			gatewaytest.Await(t, at(port, "/"), http.StatusFound, host)
			user := &browser{cookies: map[string]string{}}
			callback := user.login(t, at(port, "/"), host)
			a := user.get(t, strings.Replace(callback, "http://app.example", at(port, ""), 1), host)
			if a.Status != http.StatusFound || idp.tokens != 1 {
				t.Errorf("%d, %d tokens: %s", a.Status, idp.tokens, a.Body)
			}
		})
	}
}

// loginAt says whether users are sent to that login page.
func loginAt(t *testing.T, port int, host, page string) error {
	t.Helper()
	a := gatewaytest.Get(t, at(port, "/"), host)
	to, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		return err
	}
	if to.RawQuery = ""; a.Status != http.StatusFound || to.String() != page {
		return fmt.Errorf("%d to %s, want %s", a.Status, to, page)
	}
	return nil
}

// TestOIDCDiscoveryOverTLS: only a provider that shows a certificate of a trusted authority says where logins
// are.
func TestOIDCDiscoveryOverTLS(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		trusted bool
		want    int
	}{"trusted": {true, http.StatusFound}, "unknown": {false, http.StatusServiceUnavailable}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
			certificate, roots := gatewaytest.NewCertificate(t, "localhost"), gatewaytest.NewCertificate(t, "other.example").Chain
			if test.trusted {
				roots = certificate.Chain
			}
			issuer := fmt.Sprintf("https://localhost:%d", serveTLS(t, certificate, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, `{"issuer": "https://%s", "authorization_endpoint": "https://idp.example/authorize", "token_endpoint": "https://idp.example/token"}`, r.Host)
			})))
			g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), oidcSecret, hostRoute("app"),
				policyManifest("app", fmt.Sprintf("  oidc: {provider: {issuer: %q}, clientID: shop, clientSecret: {name: oidc}}", issuer))),
				gatewaytest.Env("SSL_CERT_FILE="+writeFile(t, string(roots))))
			if !test.trusted {
				awaitStatus(t, g, "SecurityPolicy", "app", "ProviderUnavailable", "certificate")
			}
			gatewaytest.Await(t, at(port, "/"), test.want, "Host: app.example")
		})
	}
}
