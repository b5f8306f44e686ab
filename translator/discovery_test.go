package translator_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	oauth2 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/oauth2/v3"

	"github.com/gatehouse-proxy/gatehouse/security/openid"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
)

const loginManifests = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: c, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: 9000}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app}
spec: {parentRefs: [{name: gw}], hostnames: [app.example], rules: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}]}
---
apiVersion: v1
kind: Secret
metadata: {name: oidc}
stringData: {client-secret: hush}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: app}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: app}]
  cors: {allowOrigins: ["https://a.example"]}
  oidc:
    clientID: shop
    clientSecret: {name: oidc}
    provider: {issuer: "https://idp.example"PROVIDER}
`

func login(provider string) string {
	return strings.Replace(loginManifests, "PROVIDER", provider, 1)
}

var described = map[string]*openid.Document{"https://idp.example": {
	Issuer: "https://idp.example", AuthorizationEndpoint: "https://idp.example/authorize",
	TokenEndpoint: "https://tokens.example:8443/token", EndSessionEndpoint: "https://idp.example/logout",
}}

// TestAProviderDescribesItself: a provider's own description gives what writing its endpoints down gives.
func TestAProviderDescribesItself(t *testing.T) {
	t.Parallel()
	const issuer = "https://idp.example"
	for name, test := range map[string]struct{ given, same string }{
		"nothing is given": {"", ", authorizationEndpoint: https://idp.example/authorize, tokenEndpoint: 'https://tokens.example:8443/token', endSessionEndpoint: https://idp.example/logout"},
		"what is given wins": {
			", authorizationEndpoint: https://eu.idp.example/a, endSessionEndpoint: https://eu.idp.example/out",
			", authorizationEndpoint: https://eu.idp.example/a, tokenEndpoint: 'https://tokens.example:8443/token', endSessionEndpoint: https://eu.idp.example/out",
		},
		"a backend": {
			", backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]",
			", authorizationEndpoint: https://idp.example/authorize, tokenEndpoint: 'https://tokens.example:8443/token', endSessionEndpoint: https://idp.example/logout, backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]",
		},
	} {
		translate := newTranslator()
		set := load(t, login(test.given))
		before := translate.Translate(set, nil)
		if got := before.Issuers(); !slices.Equal(got, []string{issuer}) || before.Providers[0] != (translator.Provider{Issuer: issuer, Policy: "default/app"}) {
			t.Errorf("%s: needed are %v", name, before.Providers)
		}
		waiting := before.Snapshot.Policies[0].Spec
		if waiting.Fault == "" || !waiting.Temporary || waiting.CORS == nil || strings.Contains(conditions(before), "Accepted=false") {
			t.Errorf("%s: without the description: %+v\n%s", name, waiting, conditions(before))
		}
		for _, c := range before.Snapshot.Resources[snapshot.Cluster] {
			if strings.HasPrefix(c.Name, "securitypolicy/") {
				t.Errorf("%s: there is a cluster without the description", name)
			}
		}
		got := translate.Translate(set.WithProviders(described), before)
		want := newTranslator().Translate(load(t, login(test.same)), nil)
		if !reflect.DeepEqual(got.Snapshot, want.Snapshot) || conditions(got) != conditions(want) {
			t.Errorf("%s: isn't what the endpoints give by themselves", name)
		}
		if len(want.Providers) != 0 || len(got.Providers) != 1 {
			t.Errorf("%s: needed are %v, and %v with endpoints", name, got.Providers, want.Providers)
		}
		gone := translate.Translate(set, got)
		if again := newTranslator().Translate(set, nil); !reflect.DeepEqual(gone.Snapshot, again.Snapshot) {
			t.Errorf("%s: a description that is gone still serves", name)
		}
	}
}

func TestAnIssuerThatDescribesNothing(t *testing.T) {
	t.Parallel()
	for issuer, says := range map[string]string{
		"http://idp.example": "spec.oidc.provider.issuer: must be https",
		"idp.example":        "spec.oidc.provider.issuer: must be an https URL",
		// Nothing is fetched for a policy with another fault.
		"https://idp.example\", tokenEndpoint: \"http://idp.example/token": "spec.oidc.provider.tokenEndpoint: must be https",
	} {
		result := newTranslator().Translate(load(t, strings.Replace(login(""), "https://idp.example", issuer, 1)), nil)
		if got := conditions(result); !strings.Contains(got, "Accepted=false Invalid: "+says) || len(result.Providers) != 0 {
			t.Errorf("%s: %v\n%s", issuer, result.Providers, got)
		}
	}
}

// TestASecretGoesWhereItsOwnEndpointTakesIt: what a provider says of its token endpoint isn't said of another.
func TestASecretGoesWhereItsOwnEndpointTakesIt(t *testing.T) {
	t.Parallel()
	const issuer = "https://idp.example"
	only := *described[issuer]
	only.SecretInBody = true
	for given, want := range map[string]oauth2.OAuth2Config_AuthType{
		"": oauth2.OAuth2Config_URL_ENCODED_BODY,
		", tokenEndpoint: 'https://tokens.example:8443/token'": oauth2.OAuth2Config_URL_ENCODED_BODY,
		", tokenEndpoint: 'https://eu.idp.example/token'":      oauth2.OAuth2Config_BASIC_AUTH,
	} {
		result := newTranslator().Translate(load(t, login(given)).WithProviders(map[string]*openid.Document{issuer: &only}), nil)
		logins := loginsOf(t, result)
		for _, config := range logins {
			if got := config.GetAuthType(); got != want {
				t.Errorf("with %q: %v, want %v", given, got, want)
			}
		}
		if len(logins) == 0 {
			t.Errorf("with %q: no login", given)
		}
	}
}
