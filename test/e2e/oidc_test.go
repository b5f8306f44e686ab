package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// provider is an OpenID provider that lets everybody in as bob, once for each code.
type provider struct {
	URL    string
	issuer *gatewaytest.Issuer
	inBody bool // the client's secret is taken from the body only, else from the Authorization header only
	mu     sync.Mutex
	codes  map[string]url.Values // what the user came with
	tokens int
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{issuer: gatewaytest.NewIssuer(t, "https://idp.example"), codes: map[string]url.Values{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/authorize", p.authorize)
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) { p.token(t, w, r) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	query := r.URL.Query()
	code := fmt.Sprintf("code-%d", len(p.codes))
	p.codes[code] = query
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {query.Get("state")}}.Encode(), http.StatusFound)
}

// token wants the client's secret and the proof of RFC 7636.
func (p *provider) token(t *testing.T, w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, basic := r.BasicAuth()
	if p.inBody && !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	code := r.PostFormValue("code")
	came, known := p.codes[code]
	delete(p.codes, code)
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if basic == p.inBody || id != "shop" || secret != "hush" || !known || came.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) || came.Get("redirect_uri") != r.PostFormValue("redirect_uri") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.tokens++
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token": %q, "id_token": %q, "token_type": "Bearer", "expires_in": 3600}`,
		p.issuer.Token(t, map[string]any{"sub": "bob", "for": "backend"}), p.issuer.Token(t, map[string]any{"sub": "bob", "aud": "shop"}))
}

// browser keeps cookies, secure ones too, as browsers do on this machine.
type browser struct {
	cookies map[string]string
	last    []*http.Cookie
}

func (b *browser) get(t *testing.T, at string, header ...string) gatewaytest.Answer {
	t.Helper()
	var pairs []string
	for name, value := range b.cookies {
		pairs = append(pairs, name+"="+value)
	}
	if len(pairs) > 0 {
		header = append([]string{"Cookie: " + strings.Join(pairs, "; ")}, header...)
	}
	a := gatewaytest.Get(t, at, header...)
	b.last = (&http.Response{Header: a.Header}).Cookies()
	for _, c := range b.last {
		if c.Value == "" || c.Value == "deleted" {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return a
}

// login goes through the provider and returns the URL of the callback, not yet followed.
func (b *browser) login(t *testing.T, at string, header ...string) string {
	t.Helper()
	a := b.get(t, at, header...)
	if a.Status != http.StatusFound {
		t.Fatalf("%s: %d, want to be sent to the provider: %s", at, a.Status, a.Body)
	}
	return gatewaytest.Get(t, a.Header.Get("Location")).Header.Get("Location")
}

func oidcSpec(p *provider, more string) string {
	return fmt.Sprintf(`
  oidc:
    provider: {issuer: https://idp.example, authorizationEndpoint: %s/authorize, tokenEndpoint: %s/token}
    clientID: shop
    clientSecret: {name: oidc}
%s`, p.URL, p.URL, more)
}

const oidcSecret = `
apiVersion: v1
kind: Secret
metadata: {name: oidc}
stringData: {client-secret: hush}
`

func hostRoute(name string) string {
	return route(name, name+".example", to("b"))
}

// TestOIDCLogin: the way of a user through a provider and back, and of those who shorten it.
func TestOIDCLogin(t *testing.T) {
	t.Parallel()
	idp, backend, port := newProvider(t), gatewaytest.NewBackend(t, "b"), freePort(t)
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), oidcSecret,
		hostRoute("app"), policyManifest("app", oidcSpec(idp, `    forwardAccessToken: true
    forwardIDToken: {header: x-id-token}
    scopes: [email]
    logoutPath: /leave
    cookieConfig: {sameSite: Lax}
    denyRedirect: {headers: [{name: x-requested-with, value: XMLHttpRequest}]}`)),
		hostRoute("twin"), policyManifest("twin", oidcSpec(idp, "")),
		hostRoute("both"), policyManifest("both", oidcSpec(idp, "    passThroughAuthHeader: true")+"\n"+jwtSpec(idp.issuer, `
      extractFrom: {headers: [{name: Authorization, valuePrefix: "Bearer "}], cookies: [token]}`)),
		usersManifest, keysManifest,
		hostRoute("either"), policyManifest("either", "  authMode: Any\n  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}\n"+keySpec+oidcSpec(idp, "")),
		hostRoute("nosecret"), policyManifest("nosecret", strings.Replace(oidcSpec(idp, ""), "name: oidc", "name: gone", 1))))
	const host, other = "Host: app.example", "Host: twin.example"
	here := at(port, "")
	user := &browser{cookies: map[string]string{}}

	sent := user.get(t, at(port, "/page?x=1"), host)
	to, err := url.Parse(sent.Header.Get("Location"))
	if err != nil || sent.Status != http.StatusFound || !strings.HasPrefix(to.String(), idp.URL+"/authorize?") {
		t.Fatalf("%d to %s", sent.Status, to)
	}
	if q := to.Query(); q.Get("client_id") != "shop" || q.Get("scope") != "openid email" || q.Get("redirect_uri") != "http://app.example/oauth2/callback" ||
		q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("state") == "" || q.Get("response_type") != "code" {
		t.Errorf("the provider is asked by %v", q)
	}
	checkCookies(t, user.last, 2)
	callback := gatewaytest.Get(t, to.String()).Header.Get("Location")
	callback = strings.Replace(callback, "http://app.example", here, 1)

	// S50: the state is the user's own.
	thief := &browser{cookies: map[string]string{}}
	if a := thief.get(t, callback, host); a.Status != http.StatusUnauthorized || len(thief.cookies) != 0 {
		t.Errorf("a callback in another browser: %d with %v", a.Status, thief.cookies)
	}
	thief.login(t, at(port, "/"), host)
	if a := thief.get(t, callback, host); a.Status != http.StatusUnauthorized {
		t.Errorf("a callback with another's state: %d", a.Status)
	}
	if a := user.get(t, strings.Replace(callback, "state=", "state=x", 1), host); a.Status != http.StatusUnauthorized {
		t.Errorf("a callback with a changed state: %d", a.Status)
	}
	if idp.tokens != 0 || len(backend.Requests()) != 0 {
		t.Errorf("%d tokens, %d requests at the backend before any login", idp.tokens, len(backend.Requests()))
	}

	back := user.get(t, callback, host)
	if back.Status != http.StatusFound || back.Header.Get("Location") != "http://app.example/page?x=1" {
		t.Fatalf("%d to %s: %s", back.Status, back.Header.Get("Location"), back.Body)
	}
	checkCookies(t, user.last, 4)
	for _, c := range user.last {
		if strings.Contains(c.Value, ".") && strings.HasPrefix(c.Value, "ey") {
			t.Errorf("the cookie %s holds a readable token", c.Name)
		}
	}
	a := user.get(t, at(port, "/page?x=1"), host, "x-id-token: forged", "Authorization: Bearer forged")
	if a.Status != 200 || a.Seen.Path != "/page?x=1" || !strings.HasPrefix(a.Seen.Header.Get("Authorization"), "Bearer ey") ||
		len(a.Seen.Header.Values("X-Id-Token")) != 1 || !strings.HasPrefix(a.Seen.Header.Get("X-Id-Token"), "ey") {
		t.Errorf("with a session: %d, the backend saw %v", a.Status, a.Seen.Header)
	}

	reached := len(backend.Requests())
	session := user.cookies
	for name, attempt := range map[string]struct {
		cookies map[string]string
		header  []string
		want    int
	}{
		"S50 none":                     {nil, []string{host}, 302},
		"S50 session of another host":  {session, []string{"Host: app.example:8080"}, 302},
		"S50 session of another route": {session, []string{other}, 302},
		"S50 changed signature":        {changed(session, "OauthHMAC"), []string{host}, 302},
		"S50 changed token":            {changed(session, "AccessToken"), []string{host}, 302},
		"S50 later end":                {with(session, "OauthExpires", "99999999999"), []string{host}, 302},
		"by a script":                  {nil, []string{host, "x-requested-with: XMLHttpRequest"}, 401},
		"a token instead":              {nil, []string{host, "Authorization: Bearer x"}, 302},
		"forged ID token alone":        {nil, []string{host, "x-id-token: x"}, 302},
	} {
		b := &browser{cookies: map[string]string{}}
		maps.Copy(b.cookies, attempt.cookies)
		if a := b.get(t, at(port, "/page"), attempt.header...); a.Status != attempt.want {
			t.Errorf("%s: %d, want %d", name, a.Status, attempt.want)
		}
	}
	if len(backend.Requests()) != reached {
		t.Error("one of them reached the backend")
	}

	if a := user.get(t, at(port, "/leave"), host); a.Status != http.StatusFound || len(user.cookies) != 0 {
		t.Errorf("logout: %d, cookies %v", a.Status, user.cookies)
	}
	passesByToken(t, port, idp)
	entersByAnything(t, port)
	if a := gatewaytest.Get(t, at(port, "/"), "Host: nosecret.example"); a.Status != http.StatusServiceUnavailable {
		t.Errorf("without its Secret: %d, want 503", a.Status)
	}
	for _, page := range []string{"/config_dump", "/config_dump?resource=routes"} {
		if strings.Contains(g.AdminPage(t, page), "hush") {
			t.Errorf("%s shows the client's secret", page)
		}
	}
}

// passesByToken: who has a token needs no login, and who only looks like it is asked for the token.
func passesByToken(t *testing.T, port int, idp *provider) {
	t.Helper()
	const host = "Host: both.example"
	token := idp.issuer.Token(t, map[string]any{"sub": "robot"})
	for name, test := range map[string]struct {
		header []string
		want   int
	}{
		"token":                   {[]string{"Authorization: Bearer " + token}, 200},
		"bad token":               {[]string{"Authorization: Bearer x"}, 401},
		"no token after all":      {[]string{"Authorization: Bearer "}, 302},
		"two tokens":              {[]string{"Authorization: Bearer " + token, "Authorization: Bearer x"}, 401},
		"nothing":                 {nil, 302},
		"token in another place":  {[]string{"Cookie: token=" + token}, 302},
		"another scheme":          {[]string{"Authorization: Basic eDp5"}, 302},
		"scheme in other letters": {[]string{"Authorization: bearer " + token}, 302},
	} {
		if a := gatewaytest.Get(t, at(port, "/"), append(test.header, host)...); a.Status != test.want {
			t.Errorf("passing by, %s: %d, want %d", name, a.Status, test.want)
		}
	}
}

// entersByAnything: with authMode Any a session is as good as a password or a key, and neither half of one
// is.
func entersByAnything(t *testing.T, port int) {
	t.Helper()
	const host = "Host: either.example"
	user := &browser{cookies: map[string]string{}}
	callback := user.login(t, at(port, "/"), host)
	if a := user.get(t, strings.Replace(callback, "http://either.example", at(port, ""), 1), host); a.Status != http.StatusFound {
		t.Fatalf("login: %d", a.Status)
	}
	const wrong, forged = "Authorization: Basic YWxpY2U6eA==", "x-user: root"
	for name, test := range map[string]struct {
		session bool
		header  []string
		want    int
		user    string
	}{
		"nothing":                       {false, nil, 302, ""},
		"session":                       {true, nil, 200, ""},
		"S14 session, forged identity":  {true, []string{forged}, 200, ""},
		"password":                      {false, []string{basicAlice, forged}, 200, "alice"},
		"key":                           {false, []string{"x-api-key: key-of-ci"}, 200, ""},
		"wrong password":                {false, []string{wrong}, 401, ""},
		"wrong key":                     {false, []string{"x-api-key: x"}, 401, ""},
		"empty key":                     {false, []string{"x-api-key: "}, 401, ""},
		"session and wrong password":    {true, []string{wrong}, 401, ""},
		"session and empty key":         {true, []string{"x-api-key: "}, 401, ""},
		"scheme that nobody knows":      {false, []string{"Authorization: Digest x"}, 401, ""}, // Authorization may hold a key
		"scheme in other letters":       {false, []string{"Authorization: basic YWxpY2U6cGFzc3dvcmQ="}, 200, "alice"},
		"key in the query":              {false, []string{"x-path: /?key=key-of-ci"}, 302, ""},
		"S13 two passwords":             {false, []string{basicAlice, wrong}, 401, ""},
		"S16 session, another spelling": {true, []string{"x_user: root"}, 400, ""},
	} {
		b := &browser{cookies: map[string]string{}}
		if test.session {
			b.cookies = user.cookies
		}
		path := "/"
		for _, line := range test.header {
			if in, ok := strings.CutPrefix(line, "x-path: "); ok {
				path = in
			}
		}
		a := b.get(t, at(port, path), append(test.header, host)...)
		if a.Status != test.want || a.Status == 200 && a.Seen.Header.Get("X-User") != test.user {
			t.Errorf("any, %s: %d as %q, want %d as %q", name, a.Status, a.Seen.Header.Get("X-User"), test.want, test.user)
		}
	}
}

// checkCookies: S50, no other host of the domain can set or read them, and no script can.
func checkCookies(t *testing.T, cookies []*http.Cookie, least int) {
	t.Helper()
	set := 0
	for _, c := range cookies {
		if c.Value == "deleted" {
			continue
		}
		set++
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("cookie %s", c.Raw)
		}
	}
	if set < least {
		t.Errorf("%d cookies, want at least %d", set, least)
	}
}

func changed(cookies map[string]string, kind string) map[string]string {
	out := map[string]string{}
	for name, value := range cookies {
		if strings.Contains(name, kind) {
			first := "x"
			if value[0] == 'x' {
				first = "y"
			}
			value = first + value[1:]
		}
		out[name] = value
	}
	return out
}

func with(cookies map[string]string, kind, value string) map[string]string {
	out := changed(cookies, "-")
	for name, old := range cookies {
		if out[name] = old; strings.Contains(name, kind) {
			out[name] = value
		}
	}
	return out
}

// TestOIDCVerifiesTheTokenEndpoint: codes and the client's secret go to nobody but the provider.
func TestOIDCVerifiesTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		certified, trusted string // whom the certificate is for, whose authority is trusted
		want               int
	}{
		"its certificate":       {"idp.example", "idp.example", http.StatusFound},
		"another's certificate": {"evil.example", "evil.example", http.StatusUnauthorized},
		"nobody's certificate":  {"idp.example", "", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp, backend, port := newProvider(t), gatewaytest.NewBackend(t, "b"), freePort(t)
			certificate, roots := gatewaytest.NewCertificate(t, test.certified), gatewaytest.NewCertificate(t, "other.example").Chain
			if test.trusted != "" {
				roots = certificate.Chain
			}
			tokenPort := serveTLS(t, certificate, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { idp.token(t, w, r) }))
			spec := strings.Replace(oidcSpec(idp, ""), "tokenEndpoint: "+idp.URL+"/token",
				"tokenEndpoint: https://idp.example/token, backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: idp}]", 1)
			gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), backendManifest("idp", tokenPort), oidcSecret,
				hostRoute("app"), policyManifest("app", spec)), gatewaytest.Env("SSL_CERT_FILE="+writeFile(t, string(roots))))
			user := &browser{cookies: map[string]string{}}
			callback := user.login(t, at(port, "/"), "Host: app.example")
			a := user.get(t, strings.Replace(callback, "http://app.example", at(port, ""), 1), "Host: app.example")
			if a.Status != test.want && (test.want == http.StatusFound || a.Status < 500) {
				t.Errorf("%d, want %d", a.Status, test.want)
			}
			if got := idp.tokens == 1; got != (test.want == http.StatusFound) {
				t.Errorf("%d tokens", idp.tokens)
			}
		})
	}
}

func serveTLS(t *testing.T, c *gatewaytest.Certificate, h http.Handler) (port int) {
	t.Helper()
	pair, err := tls.X509KeyPair(c.Chain, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(h)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().(*net.TCPAddr).Port
}
