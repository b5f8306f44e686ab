package translator_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	oauth2 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
)

// loginsOf are the settings of envoy.filters.http.oauth2 that a translation gives its routes, by the routes' names.
func loginsOf(t *testing.T, result *translator.Result) map[string]*oauth2.OAuth2Config {
	t.Helper()
	logins := map[string]*oauth2.OAuth2Config{}
	for _, r := range result.Snapshot.Resources[snapshot.Route] {
		config := &route.RouteConfiguration{}
		if err := proto.Unmarshal(r.Body, config); err != nil {
			t.Fatal(err)
		}
		for _, host := range config.GetVirtualHosts() {
			for _, one := range host.GetRoutes() {
				for _, packed := range one.GetTypedPerFilterConfig() {
					user := &oauth2.OAuth2PerRoute{}
					if !packed.MessageIs(user) {
						continue
					}
					if err := packed.UnmarshalTo(user); err != nil {
						t.Fatal(err)
					}
					logins[one.GetName()] = user.GetConfig()
				}
			}
		}
	}
	return logins
}

func cookiesOf(config *oauth2.OAuth2Config) []string {
	n := config.GetCredentials().GetCookieNames()
	return []string{n.GetBearerToken(), n.GetOauthHmac(), n.GetOauthExpires(), n.GetIdToken(), n.GetRefreshToken(), n.GetOauthNonce(), n.GetCodeVerifier()}
}

// TestS50TheOAuth2FilterIsConfiguredToBindItsCookies asserts the generated OAuth2Config: every cookie has a name that
// browsers keep from other hosts (RFC 6265bis section 4.1.3), signing has a key of the policy's own and is no part of
// the route, tokens are encrypted, and the callback is one path and not what merely begins like it.
func TestS50TheOAuth2FilterIsConfiguredToBindItsCookies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ fields, prefix string }{
		"as it is":            {"", "__Host-"},
		"a wider domain":      {", cookieDomain: app.example", "__Secure-"},
		"lax":                 {", cookieConfig: {sameSite: Lax}", "__Host-"},
		"sent by other sites": {", cookieConfig: {sameSite: None}", "__Host-"},
		"a long life":         {", refreshToken: true, defaultRefreshTokenTTL: 8760h", "__Host-"},
		"a callback":          {", redirectURL: 'https://app.example/cb', logoutPath: /out", "__Host-"},
	} {
		manifest := strings.Replace(login(""), "    provider: {issuer: \"https://idp.example\"}\n", "    provider: {issuer: \"https://idp.example\"}\n"+
			strings.ReplaceAll(c.fields, ", ", "\n    "), 1)
		const head = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute"
		_, own, _ := strings.Cut(manifest, head)
		own = head + own
		// The second policy differs from the first by its name and its host alone.
		second := strings.NewReplacer("name: app}", "name: two}", "app.example", "two.example").Replace(own)
		second = strings.Replace(second, secretOf(second), "", 1)
		result := newTranslator().Translate(load(t, manifest+"\n---\n"+second).WithProviders(described), nil)
		logins := loginsOf(t, result)
		if len(logins) != 2 {
			t.Fatalf("%s: logins of %v\n%s", name, slices.Collect(maps.Keys(logins)), conditions(result))
		}
		seen := map[string]string{}
		for at, config := range logins {
			own := append(cookiesOf(config), config.GetCredentials().GetHmacSecret().GetName(), config.GetCredentials().GetTokenSecret().GetName())
			for i, text := range own {
				if other, taken := seen[text]; taken || text == "" {
					t.Errorf("%s: %s and %s share %q", name, at, other, text)
				}
				if seen[text] = at; i < 7 && !strings.HasPrefix(text, c.prefix) {
					t.Errorf("%s: the cookie %s isn't %s…", name, text, c.prefix)
				}
			}
			if config.GetDisableTokenEncryption() || config.GetCredentials().GetHmacSecret().GetSdsConfig() == nil || config.GetCredentials().GetTokenSecret().GetSdsConfig() == nil {
				t.Errorf("%s: tokens in the clear, or a secret in the route: %v", name, config)
			}
			for _, path := range []string{config.GetRedirectPathMatcher().GetPath().GetExact(), config.GetSignoutPath().GetPath().GetExact()} {
				if !strings.HasPrefix(path, "/") {
					t.Errorf("%s: a path that isn't exact: %v", name, config)
				}
			}
		}
	}
}

// secretOf is the Secret among manifests.
func secretOf(manifests string) string {
	for document := range strings.SplitSeq(manifests, "---\n") {
		if strings.Contains(document, "kind: Secret\n") {
			return document + "---\n"
		}
	}
	return ""
}
