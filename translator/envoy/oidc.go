package envoy

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	oauth2 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// login has Envoy's filter send users to the provider.
func (b *Builder) login(o *policy.OIDC) *oauth2.OAuth2PerRoute {
	c := &oauth2.OAuth2Config{
		TokenEndpoint: &core.HttpUri{
			Uri: o.TokenEndpoint, Timeout: duration(o.Timeout), HttpUpstreamType: &core.HttpUri_Cluster{Cluster: o.Name},
		},
		AuthorizationEndpoint: o.AuthorizationEndpoint, EndSessionEndpoint: o.EndSessionEndpoint,
		RedirectUri: o.RedirectURL, RedirectPathMatcher: exactPath(o.RedirectPath), SignoutPath: exactPath(o.LogoutPath),
		Credentials: &oauth2.OAuth2Credentials{
			ClientId: o.ClientID, TokenSecret: secretByADS(clientSecret(o)),
			TokenFormation: &oauth2.OAuth2Credentials_HmacSecret{HmacSecret: secretByADS(cookieKey(o))},
			CookieNames:    cookieNames(&o.Cookies), CookieDomain: o.Cookies.Domain,
		},
		AuthType: authType(o), AuthScopes: o.Scopes, Resources: o.Resources,
		ForwardBearerToken: o.ForwardAccessToken, UseRefreshToken: boolean(o.Refresh), DisableTokenEncryption: o.PlainTokens,
		// Else the filter would take away what the policy's other methods ask for.
		PreserveAuthorizationHeader: !o.ForwardAccessToken && o.ForwardIDToken != "authorization",
		DefaultExpiresIn:            optional(o.TokenTTL), DefaultRefreshTokenExpiresIn: optional(o.RefreshTTL), CsrfTokenExpiresIn: optional(o.CSRFTTL),
		DenyRedirectMatcher: headerTexts(o.Deny), PassThroughMatcher: headerTexts(o.PassThrough),
		StatPrefix: statPrefix(o.Name), RetryPolicy: asksAgain(o.Settings),
	}
	if o.ForwardIDToken != "" {
		c.ForwardIdToken = &oauth2.OAuth2TokenForwarding{Header: o.ForwardIDToken}
	}
	if site, ok := sameSite[o.Cookies.SameSite]; ok {
		one := &oauth2.CookieConfig{SameSite: site}
		c.CookieConfigs = &oauth2.CookieConfigs{
			BearerTokenCookieConfig: one, OauthHmacCookieConfig: one, OauthExpiresCookieConfig: one, IdTokenCookieConfig: one,
			RefreshTokenCookieConfig: one, OauthNonceCookieConfig: one, CodeVerifierCookieConfig: one,
		}
	}
	return &oauth2.OAuth2PerRoute{Config: c}
}

// authType is how the client's secret gets to the token endpoint.
func authType(o *policy.OIDC) oauth2.OAuth2Config_AuthType {
	if o.SecretInBody {
		return oauth2.OAuth2Config_URL_ENCODED_BODY
	}
	return oauth2.OAuth2Config_BASIC_AUTH
}

var sameSite = map[string]oauth2.CookieConfig_SameSite{
	"Lax": oauth2.CookieConfig_LAX, "Strict": oauth2.CookieConfig_STRICT, "None": oauth2.CookieConfig_NONE,
}

func exactPath(path string) *matcher.PathMatcher {
	return &matcher.PathMatcher{Rule: &matcher.PathMatcher_Path{Path: exact(path)}}
}

func optional(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return duration(d)
}

func headerTexts(all []policy.HeaderText) []*route.HeaderMatcher {
	out := make([]*route.HeaderMatcher, 0, len(all))
	for _, h := range all {
		text := exact(h.Value)
		switch h.Type {
		case "Prefix":
			text = &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Prefix{Prefix: h.Value}}
		case "Suffix":
			text = &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Suffix{Suffix: h.Value}}
		case "RegularExpression":
			text = regex(h.Value)
		}
		m := headerMatch(h.Name, text)
		if h.Value == "" {
			m = headerPresent(h.Name)
		}
		out = append(out, m)
	}
	return out
}

func cookieNames(c *policy.OIDCCookies) *oauth2.OAuth2Credentials_CookieNames {
	name := func(own, kind string) string {
		if own != "" {
			return own
		}
		return c.Prefix + kind + c.Suffix
	}
	return &oauth2.OAuth2Credentials_CookieNames{
		BearerToken: name(c.AccessToken, "AccessToken"), IdToken: name(c.IDToken, "IdToken"), RefreshToken: name("", "RefreshToken"),
		OauthHmac: name("", "OauthHMAC"), OauthExpires: name("", "OauthExpires"), OauthNonce: name("", "OauthNonce"), CodeVerifier: name("", "CodeVerifier"),
	}
}

// The secrets of a login. A change of the client's secret changes no route.
func clientSecret(o *policy.OIDC) string { return o.Name + "/client-secret" }
func cookieKey(o *policy.OIDC) string    { return o.Name + "/cookie-key" }

func secretByADS(name string) *tls.SdsSecretConfig {
	return &tls.SdsSecretConfig{Name: name, SdsConfig: ads()}
}

// LoginSecrets are what the filter needs: the client's secret, and a key of the policy's own by which it
// signs and encrypts cookies.
func (b *Builder) LoginSecrets(o *policy.OIDC) []snapshot.Resource {
	mac := hmac.New(sha256.New, b.SealKey)
	mac.Write([]byte("cookies\x00" + o.Name))
	return []snapshot.Resource{genericSecret(clientSecret(o), o.ClientSecret), genericSecret(cookieKey(o), mac.Sum(nil))}
}

func genericSecret(name string, text []byte) snapshot.Resource {
	return resource(name, &tls.Secret{Name: name, Type: &tls.Secret_GenericSecret{GenericSecret: &tls.GenericSecret{Secret: inline(text)}}})
}

// LoginCluster is where the provider's token endpoint is.
func (b *Builder) LoginCluster(o *policy.OIDC) (snapshot.Resource, *snapshot.Resource) {
	c, assignment := newCluster(o.Name, o.Backend, false)
	if o.TLSName != "" {
		c.TransportSocket = &core.TransportSocket{
			Name:       "envoy.transport_sockets.tls",
			ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: typed(b.serverVerified(o.TLSName))},
		}
	}
	settle(c, o.Settings, o.Backend.HTTP2)
	return published(c), assignment
}

// serverVerified demands a certificate for the name from an authority that the system trusts. Envoy 1.40
// knows system_root_certs and then verifies nothing.
func (b *Builder) serverVerified(name string) *tls.UpstreamTlsContext {
	kind, sni := tls.SubjectAltNameMatcher_DNS, name
	if _, err := netip.ParseAddr(name); err == nil {
		kind, sni = tls.SubjectAltNameMatcher_IP_ADDRESS, "" // RFC 6066 section 3: no addresses
	}
	return &tls.UpstreamTlsContext{Sni: sni, CommonTlsContext: &tls.CommonTlsContext{
		ValidationContextType: &tls.CommonTlsContext_ValidationContext{ValidationContext: &tls.CertificateValidationContext{
			TrustedCa:                 &core.DataSource{Specifier: &core.DataSource_Filename{Filename: cmp.Or(b.SystemRoots, defaultSystemRoots)}},
			MatchTypedSubjectAltNames: []*tls.SubjectAltNameMatcher{{SanType: kind, Matcher: exact(name)}},
		}},
	}}
}

// staticLogins has the logins of a route configuration read their secrets from the bootstrap, and returns
// the secrets' names.
func staticLogins(config *route.RouteConfiguration) (names []string, err error) {
	for _, host := range config.GetVirtualHosts() {
		for _, r := range host.GetRoutes() {
			packed, ok := r.GetTypedPerFilterConfig()[filterLogin]
			if !ok {
				continue
			}
			if err := edit(packed, &oauth2.OAuth2PerRoute{}, func(m *oauth2.OAuth2PerRoute) {
				for _, sds := range []*tls.SdsSecretConfig{m.GetConfig().GetCredentials().GetTokenSecret(), m.GetConfig().GetCredentials().GetHmacSecret()} {
					sds.SdsConfig = nil
					names = append(names, sds.GetName())
				}
			}); err != nil {
				return nil, err
			}
		}
	}
	return names, nil
}
