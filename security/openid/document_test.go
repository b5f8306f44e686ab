package openid_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/security/openid"
)

const (
	issuer   = "https://idp.example/realms/a"
	document = `{"issuer": "https://idp.example/realms/a", "authorization_endpoint": "https://idp.example/authorize?tenant=a",
		"token_endpoint": "https://login.example:8443/token", "end_session_endpoint": "https://idp.example/logout", "scopes_supported": ["openid"]}`
)

func TestWhatAProviderSays(t *testing.T) {
	t.Parallel()
	got, err := openid.Parse(issuer, []byte(document))
	want := openid.Document{
		Issuer: issuer, AuthorizationEndpoint: "https://idp.example/authorize?tenant=a",
		TokenEndpoint: "https://login.example:8443/token", EndSessionEndpoint: "https://idp.example/logout",
	}
	if err != nil || *got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := openid.Parse("http://127.0.0.1:1", []byte(`{"issuer": "http://127.0.0.1:1", "authorization_endpoint": "http://127.0.0.1:1/a", "token_endpoint": "https://idp.example/t"}`)); err != nil || got.EndSessionEndpoint != "" {
		t.Errorf("on this machine: %+v, %v", got, err)
	}
}

// TestS26WhatAProviderMustNotSay: nobody but the issuer's own provider gets users, codes and secrets, and
// nobody reads them on the way.
func TestS26WhatAProviderMustNotSay(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ old, new, says string }{
		"another issuer":         {`"issuer": "https://idp.example/realms/a"`, `"issuer": "https://idp.example/realms/b"`, "another issuer"},
		"issuer with a slash":    {`"issuer": "https://idp.example/realms/a"`, `"issuer": "https://idp.example/realms/a/"`, "another issuer"},
		"issuer in capitals":     {`"issuer": "https://idp.example`, `"issuer": "https://IDP.example`, "another issuer"},
		"no issuer":              {`"issuer"`, `"x"`, "another issuer"},
		"two issuers":            {`{"issuer"`, `{"issuer": "https://evil.example", "issuer"`, "malformed"},
		"a list of issuers":      {`"https://idp.example/realms/a",`, `["https://idp.example/realms/a"],`, "another issuer"},
		"open token endpoint":    {"https://login.example:8443", "http://login.example:8443", "token_endpoint: must be https"},
		"token endpoint here":    {"https://login.example:8443", "http://127.0.0.1:8443", "token_endpoint: must be https"},
		"open login page":        {"https://idp.example/authorize", "http://idp.example/authorize", "authorization_endpoint: must be https"},
		"open logout":            {"https://idp.example/logout", "http://idp.example/logout", "end_session_endpoint: must be https"},
		"logout of no text":      {`"https://idp.example/logout"`, `null`, "end_session_endpoint"},
		"script as a login page": {"https://idp.example/authorize", "javascript:alert(1)//", "authorization_endpoint"},
		"no token endpoint":      {"token_endpoint", "token", "token_endpoint"},
		"no login page":          {"authorization_endpoint", "authorization", "authorization_endpoint"},
		"token endpoint a list":  {`"https://login.example:8443/token"`, `["https://login.example:8443/token"]`, "token_endpoint"},
		"with a password":        {"https://login.example", "https://user:pass@login.example", "token_endpoint"},
		"with a fragment":        {"8443/token", "8443/token#x", "token_endpoint"},
		"a header of its own":    {"/authorize?", "/authorize\\r\\nset-cookie: a=b?", "authorization_endpoint"},
		"no host":                {"https://login.example:8443/token", "https:///token", "token_endpoint"},
		"no such port":           {"8443", "99999", "token_endpoint"},
		"a very long URL":        {"/token", "/" + strings.Repeat("t", 3000), "token_endpoint"},
		"a list":                 {document, "[]", "no JSON object"},
		"nothing":                {document, "", "malformed"},
		"HTML":                   {document, "<html>", "malformed"},
		"cut off":                {`"scopes_supported": ["openid"]}`, `"scopes_supported": [`, "malformed"},
		"two documents":          {document, document + document, "malformed"},
		"no end of nesting":      {`["openid"]`, strings.Repeat("[", 1000) + strings.Repeat("]", 1000), "malformed"},
		"broken UTF-8":           {"openid", "\xff", "malformed"},
	} {
		text := strings.ReplaceAll(document, test.old, test.new)
		if text == document {
			t.Fatalf("%s: the text is the same", name)
		}
		got, err := openid.Parse(issuer, []byte(text))
		if got != nil || err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "evil") || strings.Contains(err.Error(), "pass@") {
			t.Errorf("%s: %v, %v; want none: %s", name, got, err, test.says)
		}
	}
}

// TestHowATokenEndpointTakesTheSecret: RFC 8414 section 2, client_secret_basic where nothing is said.
func TestHowATokenEndpointTakesTheSecret(t *testing.T) {
	t.Parallel()
	for said, inBody := range map[string]bool{
		`["openid"]`:             false, // no list of methods
		`["client_secret_post"]`: true, `["none", "client_secret_post", {}]`: true, `["client_secret_basic"]`: false, `["client_secret_post", "client_secret_basic"]`: false,
		`["private_key_jwt"]`: false, `[]`: false, `null`: false, `"client_secret_post"`: false, `[["client_secret_post"]]`: false,
	} {
		text := document
		if said != `["openid"]` {
			text = strings.Replace(document, `"scopes_supported": ["openid"]`, `"token_endpoint_auth_methods_supported": `+said, 1)
		}
		if got, err := openid.Parse(issuer, []byte(text)); err != nil || got.SecretInBody != inBody {
			t.Errorf("%s: %+v, %v", said, got, err)
		}
	}
}

func TestWhereADocumentIs(t *testing.T) {
	t.Parallel()
	for issuer, want := range map[string]string{
		"https://idp.example":            "https://idp.example/.well-known/openid-configuration",
		"https://idp.example/":           "https://idp.example/.well-known/openid-configuration",
		"https://idp.example:8443/a/b":   "https://idp.example:8443/a/b/.well-known/openid-configuration",
		"http://localhost:8080/realms/x": "http://localhost:8080/realms/x/.well-known/openid-configuration",
		"http://[::1]:80":                "http://[::1]:80/.well-known/openid-configuration",
		"http://idp.example":             "",
		"http://localhost.evil.example":  "",
		"ftp://idp.example":              "",
		"file:///etc/passwd":             "",
		"idp.example":                    "",
		"":                               "",
		"https://":                       "",
		"https://idp.example?x=1":        "",
		"https://idp.example?":           "",
		"https://idp.example#x":          "",
		"https://user@idp.example":       "",
		"https://idp.example/a b":        "",
		"https://idp.example\n":          "",
	} {
		if got, err := openid.URL(issuer); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", issuer, got, err)
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add(document)
	f.Add(`{"issuer": "https://idp.example/realms/a", "authorization_endpoint": "http://127.0.0.1/", "token_endpoint": "https://[::1]:0/"}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := openid.Parse(issuer, []byte(text))
		if err != nil {
			return
		}
		for _, endpoint := range []string{got.AuthorizationEndpoint, got.TokenEndpoint} {
			if !strings.HasPrefix(strings.ToLower(endpoint), "https://") || strings.ContainsAny(endpoint, " \r\n#") || got.Issuer != issuer {
				t.Errorf("%+v", got)
			}
		}
	})
}
