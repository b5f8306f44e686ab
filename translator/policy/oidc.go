package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/field"
	"github.com/gatehouse-proxy/gatehouse/security/openid"
	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
	"github.com/gatehouse-proxy/gatehouse/translator/memo"
	"github.com/gatehouse-proxy/gatehouse/translator/upstream"
)

// OIDC is a login at an OpenID provider, which Envoy's own filter conducts.
type OIDC struct {
	// Name names the provider's cluster and begins the names of the secrets: "securitypolicy/ns/name/oidc".
	Name    string
	Backend *gatewayapi.Backend // where the token endpoint is
	// Settings are how it is to be reached, without a fault; nil: as usual. Timeout bounds a question.
	Settings *egv1alpha1.ClusterSettings
	Timeout  time.Duration
	// TLSName is whom the token endpoint's certificate must be for; "": it is reached without TLS.
	TLSName                                                  string
	AuthorizationEndpoint, TokenEndpoint, EndSessionEndpoint string
	SecretInBody                                             bool // the token endpoint takes it nowhere else
	ClientID                                                 string
	ClientSecret                                             []byte
	Scopes, Resources                                        []string
	RedirectURL, RedirectPath, LogoutPath                    string
	Cookies                                                  OIDCCookies
	ForwardAccessToken                                       bool
	ForwardIDToken                                           string // header; "": not
	Refresh, PlainTokens                                     bool
	TokenTTL, RefreshTTL, CSRFTTL                            time.Duration // 0: Envoy's default
	// Deny are headers of requests that are answered 401 instead of being sent to the provider.
	Deny []HeaderText
	// PassThrough are headers of requests that a JWT provider of the policy will judge instead.
	PassThrough []HeaderText

	issuer string // whose description is needed; "": all is given
}

// OIDCCookies names the cookies of a session.
type OIDCCookies struct {
	Prefix, Suffix       string // of all that have no name of their own
	AccessToken, IDToken string // "": made of prefix and suffix
	Domain, SameSite     string
}

// HeaderText compares a header's value: Exact, Prefix, Suffix or RegularExpression.
type HeaderText struct{ Name, Type, Value string }

const oidcField = "spec.oidc"

func (r *resolver) oidc(owner objectName, spec *egv1alpha1.OIDC, policy *egv1alpha1.SecurityPolicySpec, anyMode bool) *OIDC {
	if spec == nil {
		return nil
	}
	out := &OIDC{
		Name:      fmt.Sprintf("securitypolicy/%s/%s/oidc", owner.namespace, owner.name),
		Resources: spec.Resources, LogoutPath: "/logout", RedirectURL: "%REQ(x-forwarded-proto)%://%REQ(:authority)%/oauth2/callback",
		ForwardAccessToken: deref(spec.ForwardAccessToken), PlainTokens: deref(spec.DisableTokenEncryption),
		Refresh:    spec.RefreshToken == nil || *spec.RefreshToken,
		TokenTTL:   r.duration(oidcField+".defaultTokenTTL", spec.DefaultTokenTTL, 0),
		RefreshTTL: r.duration(oidcField+".defaultRefreshTokenTTL", spec.DefaultRefreshTokenTTL, 0),
		CSRFTTL:    r.duration(oidcField+".csrfTokenTTL", spec.CSRFTokenTTL, 0),
	}
	if !slices.Contains(spec.Scopes, "openid") {
		out.Scopes = append(out.Scopes, "openid")
	}
	out.Scopes = append(out.Scopes, spec.Scopes...)
	r.oidcProvider(out, &spec.Provider)
	r.oidcClient(out, spec)
	r.oidcPaths(out, spec)
	r.oidcCookies(out, owner, spec)
	r.oidcForward(out, spec)
	r.oidcHeaders(out, spec)
	switch {
	case anyMode && (policy.BasicAuth != nil || policy.JWT != nil || policy.APIKeyAuth != nil):
		r.oidcOrOther(out, policy)
	case deref(spec.PassThroughAuthHeader):
		r.oidcPassThrough(out, policy.JWT)
	}
	for _, h := range out.PassThrough {
		if h.Name == out.ForwardIDToken || h.Name == "authorization" && out.ForwardAccessToken {
			r.fault("%s: header %s carries a forwarded token, and requests with it need no login; forward none there (forwardAccessToken, forwardIDToken)", oidcField, h.Name)
		}
	}
	return out
}

// oidcProvider says where the provider is. What isn't given is in its own description, which is an input of
// the translation like a Secret; as long as that is missing out.Backend is nil.
func (r *resolver) oidcProvider(out *OIDC, spec *egv1alpha1.OIDCProvider) {
	const field = oidcField + ".provider"
	endpoints := openid.Document{
		AuthorizationEndpoint: deref(spec.AuthorizationEndpoint), TokenEndpoint: deref(spec.TokenEndpoint), EndSessionEndpoint: deref(spec.EndSessionEndpoint),
	}
	if endpoints.AuthorizationEndpoint == "" || endpoints.TokenEndpoint == "" {
		if _, err := openid.URL(spec.Issuer); err != nil {
			r.fault("%s.issuer: %v; it says where the provider describes itself. Or give authorizationEndpoint and tokenEndpoint", field, err)
			return
		}
		out.issuer = spec.Issuer
		described := memo.Read[*openid.Document](r.view, memo.Key{Kind: gatewayapi.ProviderKind, Name: spec.Issuer})
		if described == nil {
			described = &openid.Document{}
		}
		endpoints.AuthorizationEndpoint = cmp.Or(endpoints.AuthorizationEndpoint, described.AuthorizationEndpoint)
		endpoints.TokenEndpoint = cmp.Or(endpoints.TokenEndpoint, described.TokenEndpoint)
		endpoints.EndSessionEndpoint = cmp.Or(endpoints.EndSessionEndpoint, described.EndSessionEndpoint)
		out.SecretInBody = described.SecretInBody && endpoints.TokenEndpoint == described.TokenEndpoint
	}
	named := len(spec.BackendRefs) > 0 || spec.BackendRef != nil
	out.AuthorizationEndpoint, _ = r.endpoint(field+".authorizationEndpoint", endpoints.AuthorizationEndpoint, false)
	out.EndSessionEndpoint, _ = r.endpoint(field+".endSessionEndpoint", endpoints.EndSessionEndpoint, false)
	token, at := r.endpoint(field+".tokenEndpoint", endpoints.TokenEndpoint, named)
	var backend *gatewayapi.Backend
	if named {
		backend = r.server(field, "SecurityPolicy", &spec.BackendCluster)
	}
	if at == nil || out.AuthorizationEndpoint == "" {
		return
	}
	if out.TokenEndpoint, out.Backend = token, backend; at.Scheme == "https" {
		out.TLSName = at.Hostname()
	}
	if !named {
		out.Backend = hostOf(at)
	}
	out.Timeout = tokenTimeout
	out.Settings = r.settings(field, &spec.BackendCluster, out.Backend, upstream.Use{})
	if s := out.Settings; s != nil && s.Timeout != nil && s.Timeout.HTTP != nil {
		out.Timeout = upstream.Duration(s.Timeout.HTTP.RequestTimeout, tokenTimeout)
	}
}

// tokenTimeout is how long Envoy waits for the token endpoint.
const tokenTimeout = 10 * time.Second

func hostOf(at *url.URL) *gatewayapi.Backend {
	port := map[string]uint64{"https": 443, "http": 80}[at.Scheme]
	if at.Port() != "" {
		port, _ = strconv.ParseUint(at.Port(), 10, 16) // openid.Endpoint has checked it
	}
	_, err := netip.ParseAddr(at.Hostname())
	return &gatewayapi.Backend{DNS: err != nil, Endpoints: []gatewayapi.Endpoint{{Address: at.Hostname(), Port: uint16(port)}}}
}

// endpoint checks the URL of an endpoint; http is for this machine, and for a server that is named. One that
// isn't known yet is no fault.
func (r *resolver) endpoint(field, text string, named bool) (string, *url.URL) {
	if text == "" {
		return "", nil
	}
	at, err := openid.Endpoint(text, named)
	if err != nil {
		r.fault("%s: %v", field, err)
		return "", nil
	}
	return text, at
}

func (r *resolver) oidcClient(out *OIDC, spec *egv1alpha1.OIDC) {
	switch {
	case (spec.ClientID == nil) == (spec.ClientIDRef == nil):
		r.fault("%s: set exactly one of clientID and clientIDRef", oidcField)
	case spec.ClientID != nil:
		out.ClientID = *spec.ClientID
	default:
		out.ClientID = strings.TrimSpace(string(r.secretText(oidcField+".clientIDRef", *spec.ClientIDRef, egv1alpha1.OIDCClientIDKey)))
	}
	out.ClientSecret = r.secretText(oidcField+".clientSecret", spec.ClientSecret, egv1alpha1.OIDCClientSecretKey)
	if out.ClientID == "" || len(out.ClientSecret) == 0 {
		r.fault("%s: clientID and clientSecret must not be empty", oidcField)
	}
}

// secretText reads a Secret's key for Envoy: the authorizer has no use for it.
func (r *resolver) secretText(field string, ref gatewayv1.SecretObjectReference, key string) []byte {
	secret, fault := gatewayapi.ReadSecret(r.view, r.referrer("SecurityPolicy"), ref)
	if fault != "" {
		r.fault("%s: %s", field, fault)
		return nil
	}
	text, ok := secret.Data[key]
	if !ok {
		r.fault("%s: Secret %s needs the key %s", field, ref.Name, key)
	}
	return text
}

// callback takes a URL's path, which may begin with a formatted host.
var callback = regexp.MustCompile(`\A(?:https?|%[^%]+%)://[^/]+(/[^?#\s]+)\z`)

func (r *resolver) oidcPaths(out *OIDC, spec *egv1alpha1.OIDC) {
	if spec.RedirectURL != nil {
		out.RedirectURL = *spec.RedirectURL
	}
	if parts := callback.FindStringSubmatch(out.RedirectURL); parts != nil {
		out.RedirectPath = parts[1]
	} else {
		r.fault("%s.redirectURL: must be a URL with a path of its own, such as https://app.example/oauth2/callback", oidcField)
	}
	if spec.LogoutPath != nil {
		out.LogoutPath = *spec.LogoutPath
	}
	if !strings.HasPrefix(out.LogoutPath, "/") || len(out.LogoutPath) < 2 || strings.ContainsAny(out.LogoutPath, "?#") || out.LogoutPath == out.RedirectPath {
		r.fault("%s.logoutPath: must be a path of its own, such as /logout", oidcField)
	}
}

// oidcCookies: one policy's session is no other's. A cookie with __Host- can't be set by another host of
// the domain or over an open line (RFC 6265bis section 4.1.3.2).
func (r *resolver) oidcCookies(out *OIDC, owner objectName, spec *egv1alpha1.OIDC) {
	sum := sha256.Sum256([]byte(owner.namespace + "/" + owner.name))
	out.Cookies = OIDCCookies{Prefix: "__Host-", Suffix: "-" + hex.EncodeToString(sum[:4])}
	if spec.CookieDomain != nil {
		out.Cookies.Prefix, out.Cookies.Domain = "__Secure-", *spec.CookieDomain
	}
	if names := spec.CookieNames; names != nil {
		out.Cookies.AccessToken, out.Cookies.IDToken = deref(names.AccessToken), deref(names.IDToken)
	}
	for _, name := range []string{out.Cookies.AccessToken, out.Cookies.IDToken} {
		if name != "" && field.CheckName(name) != nil || name != "" && out.Cookies.AccessToken == out.Cookies.IDToken {
			r.fault("%s.cookieNames: %q is no name of a cookie, or that of both", oidcField, name)
		}
	}
	if spec.CookieConfig != nil {
		out.Cookies.SameSite = deref(spec.CookieConfig.SameSite)
	}
	if !slices.Contains([]string{"", "Lax", "Strict", "None"}, out.Cookies.SameSite) {
		r.fault("%s.cookieConfig.sameSite: must be one of Lax, Strict, None", oidcField)
	}
}

func (r *resolver) oidcForward(out *OIDC, spec *egv1alpha1.OIDC) {
	if spec.ForwardIDToken == nil {
		return
	}
	out.ForwardIDToken = strings.ToLower(spec.ForwardIDToken.Header)
	if err := field.CheckName(out.ForwardIDToken); err != nil {
		r.fault("%s.forwardIDToken.header: %v", oidcField, err)
	}
	if out.ForwardIDToken == "authorization" && out.ForwardAccessToken {
		r.fault("%s.forwardIDToken.header: Authorization has the access token already (forwardAccessToken); name another header", oidcField)
	}
}

func (r *resolver) oidcHeaders(out *OIDC, spec *egv1alpha1.OIDC) {
	if spec.DenyRedirect == nil {
		return
	}
	for i, h := range spec.DenyRedirect.Headers {
		text := HeaderText{Name: strings.ToLower(h.Name), Type: string(deref(h.Type)), Value: h.Value}
		if !slices.Contains([]string{"", "Exact", "Prefix", "Suffix", "RegularExpression"}, text.Type) {
			r.fault("%s.denyRedirect.headers[%d].type: must be one of Exact, Prefix, Suffix, RegularExpression", oidcField, i)
		}
		if _, err := regexp.Compile(text.Value); err != nil && text.Type == "RegularExpression" {
			r.fault("%s.denyRedirect.headers[%d].value: %q is no RE2 expression", oidcField, i, text.Value)
		}
		out.Deny = append(out.Deny, text)
	}
}

// oidcPassThrough: who passes the login by must meet a method that is sure to ask for the token.
func (r *resolver) oidcPassThrough(out *OIDC, jwt *egv1alpha1.JWT) {
	if jwt == nil || deref(jwt.Optional) || deref(jwt.FailOpen) {
		r.fault("%s.passThroughAuthHeader: needs jwt, neither optional nor failOpen: else a header would be enough to pass", oidcField)
		return
	}
	out.PassThrough = tokenHeaders(jwt)
}

// oidcOrOther: requests with another method's credential need no login (authMode Any). Only headers tell
// them: Envoy looks at nothing else.
func (r *resolver) oidcOrOther(out *OIDC, policy *egv1alpha1.SecurityPolicySpec) {
	if jwt := policy.JWT; jwt != nil {
		if deref(jwt.Optional) || deref(jwt.FailOpen) {
			r.fault("%s: authMode Any with a jwt that is optional or failOpen would need no login at all; remove it", oidcField)
		}
		out.PassThrough = append(out.PassThrough, tokenHeaders(jwt)...)
	}
	if policy.BasicAuth != nil {
		out.PassThrough = append(out.PassThrough, HeaderText{Name: "authorization", Type: "Prefix", Value: "Basic "})
	}
	if keys := policy.APIKeyAuth; keys != nil {
		for _, from := range keys.ExtractFrom {
			for _, name := range from.Headers {
				out.PassThrough = append(out.PassThrough, HeaderText{Name: strings.ToLower(name), Type: "Prefix"})
			}
		}
	}
	if len(out.PassThrough) == 0 {
		r.fault("%s: authMode Any needs another method whose credential is in a header (extractFrom.headers)", oidcField)
	}
}

// tokenHeaders are the headers in which providers look for tokens.
func tokenHeaders(jwt *egv1alpha1.JWT) []HeaderText {
	var out []HeaderText
	for i := range jwt.Providers {
		from := jwt.Providers[i].ExtractFrom
		if from == nil {
			out = append(out, HeaderText{Name: "authorization", Type: "Prefix", Value: "Bearer "})
			continue
		}
		for _, h := range from.Headers {
			out = append(out, HeaderText{Name: strings.ToLower(h.Name), Type: "Prefix", Value: deref(h.ValuePrefix)})
		}
	}
	return out
}

// login tells the authorizer which requests the filter lets by, where a session is one of several methods.
func (o *OIDC) login(anyMode bool) *config.Login {
	if o == nil || !anyMode || len(o.PassThrough) == 0 {
		return nil
	}
	out := &config.Login{}
	for _, h := range o.PassThrough {
		out.PassedBy = append(out.PassedBy, config.HeaderPrefix{Name: h.Name, Prefix: h.Value})
	}
	return out
}
