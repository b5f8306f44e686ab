package resource_test

import (
	"strings"
	"testing"
)

// All of two methods that read one header is a policy that nobody passes; every other pair stands.
func TestTwoMethodsThatAllReadAuthorization(t *testing.T) {
	t.Parallel()
	const basic, keys = "  basicAuth: {users: {name: s}}\n", "  apiKeyAuth: {credentialRefs: [{name: k}], extractFrom: [{headers: [%]}]}\n"
	jwt := func(more string) string { return strings.Replace(provider, "%", more, 1) }
	key := func(header string) string { return strings.Replace(keys, "%", header, 1) }
	for name, c := range map[string]struct{ text, names string }{
		"password and token":               {basic + jwt("issuer: i"), "basicAuth and jwt"},
		"said aloud":                       {"  authMode: All\n" + basic + jwt("issuer: i"), "basicAuth and jwt"},
		"password and key":                 {basic + key("Authorization"), "basicAuth and apiKeyAuth"},
		"token and key":                    {jwt("issuer: i") + key("authorization"), "jwt and apiKeyAuth"},
		"three":                            {basic + jwt("issuer: i") + key("AUTHORIZATION"), "basicAuth and jwt and apiKeyAuth"},
		"token by name":                    {basic + jwt("extractFrom: {headers: [{name: Authorization, valuePrefix: 'Token '}]}"), "basicAuth and jwt"},
		"either":                           {"  authMode: Any\n" + basic + jwt("issuer: i"), ""},
		"token elsewhere":                  {basic + jwt("extractFrom: {headers: [{name: x-token}]}"), ""},
		"token in a cookie":                {basic + jwt("extractFrom: {cookies: [session]}"), ""},
		"token elsewhere too":              {basic + jwt("extractFrom: {headers: [{name: Authorization}], params: [token]}"), ""},
		"key elsewhere":                    {basic + key("x-api-key"), ""},
		"optional token":                   {basic + strings.Replace(jwt("issuer: i"), "{providers", "{optional: true, providers", 1), ""},
		"one of several providers is free": {basic + "  jwt: {providers: [{name: a, remoteJWKS: {uri: https://i/jwks}}, {name: b, extractFrom: {cookies: [c]}, remoteJWKS: {uri: https://i/jwks}}]}\n", ""},
	} {
		_, problems := build(policy(c.text))
		says := strings.Join(problemTexts(problems), "\n")
		if c.names == "" && says != "" || !strings.Contains(says, c.names) {
			t.Errorf("%s: %q, want %q", name, says, c.names)
		}
		if c.names != "" && !strings.Contains(says, "spec.authMode: All can't be met: "+c.names+" all read") {
			t.Errorf("%s: %q", name, says)
		}
	}
}
