package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/internal/geotest"
)

// geoGateway is a Gateway whose EnvoyProxy names two databases, and believes X-Forwarded-For.
func geoGateway(port int, country, anonymous string) string {
	return strings.TrimSpace(gatewayManifest(port)) + "\n  infrastructure: {parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: proxy}}\n---" + fmt.Sprintf(`
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: proxy}
spec: {geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: %s}}, anonymousIpDbSource: {local: {path: %s}}}}}}
---`, country, anonymous) + clientPolicy("{xForwardedFor: {numTrustedHops: 1}}")
}

// geoFiles are databases that know two countries, and one VPN.
func geoFiles(t *testing.T) (country, anonymous string) {
	t.Helper()
	country = geotest.File(t, geotest.Database(t, geotest.Country, map[string]geotest.Record{
		"203.0.113.0/24": geotest.In("CH"), "2001:db8::/32": geotest.In("CH"), "198.51.100.0/24": geotest.In("SE"),
	}))
	anonymous = geotest.File(t, geotest.Database(t, geotest.AnonymousIP, map[string]geotest.Record{
		"203.0.113.128/25": geotest.Anonymous("is_anonymous", "is_anonymous_vpn"),
	}))
	return country, anonymous
}

const (
	geoAllow = "  authorization: {rules: [{name: home, action: Allow, principal: {clientIPGeoLocations: [{country: ch}, {country: LI}]}}]}"
	geoDeny  = "  authorization: {defaultAction: Allow, rules: [{name: away, action: Deny, principal: {clientIPGeoLocations: [{country: SE}]}}]}"
	geoVPN   = "  authorization: {defaultAction: Allow, rules: [{name: vpn, action: Deny, principal: {clientIPGeoLocations: [{anonymous: {isVPN: true}}]}}]}"
)

// TestTheClientsCountryDecides: by the address that the gateway found, over both transports alike.
func TestTheClientsCountryDecides(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	country, anonymous := geoFiles(t)
	var manifests []string
	for name, spec := range map[string]string{"allow": geoAllow, "deny": geoDeny, "vpn": geoVPN} {
		for transport, enforcement := range map[string]string{"": "", "-streamed": "\n  enforcement: ExtProc"} {
			manifests = append(manifests, routeManifest(name+transport, prefix("/"+name+transport), "b"), policyManifest(name+transport, spec+enforcement))
		}
	}
	gatewaytest.Start(t, all(geoGateway(port, country, anonymous), backendManifest("b", backend.Port), strings.Join(manifests, "\n---\n")))
	for client, want := range map[string][3]int{ // by country that is allowed, that is denied, and VPN
		"203.0.113.7":                {200, 200, 200},
		"203.0.113.200":              {200, 200, 403},
		"2001:db8::7":                {200, 200, 200},
		"198.51.100.7":               {403, 403, 200},
		"192.0.2.7":                  {403, 403, 200}, // unknown: S12
		"203.0.113.7, 198.51.100.7":  {403, 403, 200},
		"198.51.100.7, 203.0.113.7":  {200, 200, 200},
		"":                           {403, 403, 200}, // loopback is in no database
		"203.0.113.7, 192.0.2.7, ::": {403, 403, 200},
	} {
		var header []string
		if client != "" {
			header = []string{"X-Forwarded-For: " + client}
		}
		for i, name := range []string{"allow", "deny", "vpn"} {
			for _, transport := range []string{"", "-streamed"} {
				if a := gatewaytest.Get(t, at(port, "/"+name+transport), header...); a.Status != want[i] {
					t.Errorf("%s%s from %q: %d, want %d", name, transport, client, a.Status, want[i])
				}
			}
		}
	}
}

// TestS40ADatabaseComesGoesAndChanges: 503 before it is there, the last good one afterwards, each told.
func TestS40ADatabaseComesGoesAndChanges(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	country := filepath.Join(t.TempDir(), "country.mmdb")
	_, anonymous := geoFiles(t)
	g := gatewaytest.Start(t, all(geoGateway(port, country, anonymous), backendManifest("b", backend.Port),
		routeManifest("r", prefix("/r"), "b"), policyManifest("r", geoAllow), routeManifest("open", prefix("/open"), "b")))
	answers := func(status int) func() error {
		return func() error {
			if a := gatewaytest.Get(t, at(port, "/r"), "X-Forwarded-For: 203.0.113.7"); a.Status != status {
				return fmt.Errorf("%d, want %d", a.Status, status)
			}
			return nil
		}
	}
	told := func(text string) func() error {
		return func() error {
			if page := g.AdminPage(t, "/api/status"); !strings.Contains(page, text) {
				return errors.New(page)
			}
			return nil
		}
	}
	if err := answers(http.StatusServiceUnavailable)(); err != nil {
		t.Error(err)
	}
	if a := gatewaytest.Get(t, at(port, "/open")); a.Status != http.StatusOK {
		t.Errorf("a route without the policy: %d", a.Status)
	}
	gatewaytest.Eventually(t, "the missing database told", told("the Country database "+country+" isn't there, requests are answered 503"))
	in := func(code string) []byte {
		return geotest.Database(t, geotest.Country, map[string]geotest.Record{"203.0.113.0/24": geotest.In(code)})
	}
	geotest.Replace(t, country, in("CH"))
	gatewaytest.Eventually(t, "in force", answers(http.StatusOK))
	gatewaytest.Eventually(t, "told", told("GeoLite2-Country of 2023-11-14"))
	if err := os.Truncate(country, 10); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "the broken file told", told("goes on as it was when it was last good"))
	if err := answers(http.StatusOK)(); err != nil {
		t.Error(err)
	}
	geotest.Replace(t, country, in("SE"))
	gatewaytest.Eventually(t, "the next one", answers(http.StatusForbidden))
	if page := g.AdminPage(t, "/api/sources"); !strings.Contains(page, country) {
		t.Errorf("/api/sources: %s", page)
	}
}

// TestCommandsLookIntoTheDatabases: explain says where the client is, test decides by it, validate warns of what isn't there.
func TestCommandsLookIntoTheDatabases(t *testing.T) {
	t.Parallel()
	country, anonymous := geoFiles(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	manifests := func(country string) string {
		return all(geoGateway(8080, country, anonymous), backendManifest("b", 9), routeManifest("r", prefix("/"), "b"), policyManifest("r", geoAllow))["all.yaml"]
	}
	file := write("config.yaml", manifests(country))
	stdout, stderr, code := command(t, "explain", "-f", file, "GET", "http://shop.example:8080/", "--from", "127.0.0.1", "-H", "X-Forwarded-For: 198.51.100.7")
	if !strings.Contains(stdout, "from 198.51.100.7 in SE") || !strings.Contains(stdout, "403") {
		t.Errorf("explain: %d\n%s%s", code, stdout, stderr)
	}
	cases := write("cases.yaml", `
cases:
- {name: at home, request: {url: "http://shop.example:8080/", headers: {x-forwarded-for: 203.0.113.7}}, expect: {verdict: allow}}
- {name: away, request: {url: "http://shop.example:8080/", headers: {x-forwarded-for: 198.51.100.7}}, expect: {verdict: deny, status: 403, reason: rule_default_denied}}
`)
	if stdout, stderr, code := command(t, "test", "-f", file, cases); code != 0 {
		t.Errorf("test: %d\n%s%s", code, stdout, stderr)
	}
	if stdout, stderr, code := command(t, "validate", "-f", file); code != 0 || strings.Contains(stdout+stderr, "database") {
		t.Errorf("validate: %d\n%s%s", code, stdout, stderr)
	}
	missing := write("missing.yaml", manifests(dir+"/none.mmdb"))
	if stdout, stderr, code := command(t, "validate", "-f", missing); code != 0 || !strings.Contains(stdout+stderr, "the Country database "+dir+"/none.mmdb isn't there") {
		t.Errorf("validate without the database: %d\n%s%s", code, stdout, stderr)
	}
}

// TestAuthLooksIntoTheDatabases: without a Gateway, they are those of the files' EnvoyProxy.
func TestAuthLooksIntoTheDatabases(t *testing.T) {
	t.Parallel()
	backend, port, state := gatewaytest.NewBackend(t, "b"), freePort(t), envoytest.SocketDir(t)
	country := geotest.File(t, geotest.Database(t, geotest.Country, map[string]geotest.Record{"127.0.0.0/8": geotest.In("CH")}))
	file := writeFile(t, strings.Join([]string{
		policyManifest("named", geoDeny), policyManifest("fallback", strings.ReplaceAll(geoAllow, "ch", "SE")), `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: proxy}
spec: {geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: ` + country + `}}}}}}`,
	}, "\n---\n"))
	socket := filepath.Join(state, "auth.sock")
	startAuth(t, "-f", file, "--listen", "unix:"+socket, "--default-policy", "default/fallback")
	gatewaytest.Eventually(t, "socket", func() error { _, err := os.Stat(socket); return err })
	envoytest.Start(t, ownEnvoy(port, backend.Port, socket))
	for path, want := range map[string]int{"/named": http.StatusOK, "/x": http.StatusForbidden} {
		if a := gatewaytest.Get(t, at(port, path)); a.Status != want {
			t.Errorf("%s: %d, want %d", path, a.Status, want)
		}
	}
	geotest.Replace(t, country, geotest.Database(t, geotest.Country, map[string]geotest.Record{"127.0.0.0/8": geotest.In("SE")}))
	gatewaytest.Eventually(t, "the other country", func() error {
		named, other := gatewaytest.Get(t, at(port, "/named")).Status, gatewaytest.Get(t, at(port, "/x")).Status
		if named != http.StatusForbidden || other != http.StatusOK {
			return fmt.Errorf("%d, %d", named, other)
		}
		return nil
	})
}
