package handbook_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// The handbook prints placeholders for hashes. These are from `openssl passwd -apr1`.
const (
	placeholder1 = "$apr1$abc$def"
	placeholder2 = "$apr1$xyz$uvw"
	password1    = "open-sesame-1"
	hash1        = "$apr1$m4LOCt3y$xVSw9BXJSLh1n996RE1yE."
	password2    = "open-sesame-2"
	hash2        = "$apr1$oS4W7Nox$Je3rOncQ3tSsedumpgdqE1"
)

func TestExample14BasicAuth(t *testing.T) {
	isolated(t, func(t *testing.T) {
		b := backend(t)
		base := rewrite(t, "base", placeholder1, hash1, placeholder2, hash2)
		g := gatewaytest.Start(t, nil, files(base, example("14-sp-basicauth")))
		t.Run("users with their password pass", testUsers)
		t.Run("everyone else is asked for it", func(t *testing.T) { testStrangers(t, b) })
		wantAbsent(t, g, password1, password2, hash1, hash2, encoded("user1", password1), encoded("user2", password2))
	})
}

// TestExample14BasicAuthPlaceholders runs both files exactly as printed.
func TestExample14BasicAuthPlaceholders(t *testing.T) {
	isolated(t, func(t *testing.T) {
		b := backend(t)
		base := rewrite(t, "base")
		g := gatewaytest.Start(t, nil, files(base, example("14-sp-basicauth")))
		for _, header := range [][]string{nil, {basic("user1", "def")}, {basic("user1", "")}} {
			a := get(t, header...)
			wantStatus(t, a, http.StatusServiceUnavailable)
			wantHeader(t, a.Header, "WWW-Authenticate")
		}
		wantLogged(t, g, "tenant/basic-auth", "htpasswd line 1")
		wantAbsent(t, g, "abc$def", "xyz$uvw")
		if n := len(b.Requests()); n != 0 {
			t.Errorf("%d requests reached the backend", n)
		}
		t.Run("a repaired Secret takes effect", func(t *testing.T) {
			repaired, err := os.ReadFile(rewrite(t, "base", placeholder1, hash1, placeholder2, hash2))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(base, repaired, 0o600); err != nil {
				t.Fatal(err)
			}
			gatewaytest.Await(t, gatewayURL+"/", http.StatusOK, host, basic("user1", password1))
			wantStatus(t, get(t), http.StatusUnauthorized)
		})
	})
}

func testUsers(t *testing.T) {
	for _, header := range []string{
		basic("user1", password1),
		basic("user2", password2),
		strings.Replace(basic("user1", password1), "Basic", "bAsIc", 1),
	} {
		wantStatus(t, get(t, header), http.StatusOK)
	}
}

func testStrangers(t *testing.T, b *gatewaytest.Backend) {
	before := len(b.Requests())
	for name, header := range map[string][]string{
		"no credentials":                nil,
		"wrong password":                {basic("user1", "open-sesame-3")},
		"the other user's password":     {basic("user1", password2)},
		"empty password":                {basic("user1", "")},
		"the hash as password":          {basic("user1", hash1)},
		"unknown user":                  {basic("user3", password1)},
		"user in another case":          {basic("USER1", password1)},
		"no user":                       {basic("", password1)},
		"nothing after the scheme":      {"Authorization: Basic"},
		"no base64":                     {"Authorization: Basic user1:" + password1},
		"no colon":                      {"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("user1"))},
		"another scheme":                {"Authorization: Bearer " + encoded("user1", password1)},
		"two lines, the second is good": {"Authorization: Basic eDp5", basic("user1", password1)},
		"two lines, the first is good":  {basic("user1", password1), "Authorization: Basic eDp5"},
	} {
		a := get(t, header...)
		if a.Status != http.StatusUnauthorized {
			t.Errorf("%s: status %d, want 401", name, a.Status)
		}
		wantHeader(t, a.Header, "WWW-Authenticate", `Basic realm="tenant/basic-auth", charset="UTF-8"`)
	}
	if n := len(b.Requests()) - before; n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
}

func basic(user, password string) string {
	return "Authorization: Basic " + encoded(user, password)
}

func encoded(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// wantAbsent keeps secrets out of what is logged.
func wantAbsent(t *testing.T, g *gatewaytest.Gateway, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(g.Output(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
}
