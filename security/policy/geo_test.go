package policy_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/geotest"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

func withGeo(t testing.TB) func(*policy.Deps) {
	t.Helper()
	d := geo.New(geo.Options{Interval: 2 * time.Millisecond})
	t.Cleanup(d.Close)
	return func(deps *policy.Deps) { deps.Geo = d }
}

// countries is a database that knows where requests of these tests come from.
func countries(t testing.TB, code string) []byte {
	t.Helper()
	return geotest.Database(t, geotest.Country, map[string]geotest.Record{"192.0.2.0/24": geotest.In(code)})
}

func TestRulesKnowWhereTheClientIs(t *testing.T) {
	t.Parallel()
	path := geotest.File(t, countries(t, "CH"))
	for name, c := range map[string]struct {
		authorization config.Authorization
		want          int
		reason        string
	}{
		"allowed country": {config.Authorization{Rules: []config.Rule{{Allow: true, Locations: []config.GeoLocation{{Country: "CH"}}}}}, 200, policy.ReasonAllowed},
		"another country": {config.Authorization{Rules: []config.Rule{{Allow: true, Locations: []config.GeoLocation{{Country: "SE"}}}}}, 403, policy.ReasonDefaultDenied},
		"denied country":  {config.Authorization{DefaultAllow: true, Rules: []config.Rule{{Name: "no", Locations: []config.GeoLocation{{Country: "CH"}}}}}, 403, policy.ReasonRuleDenied},
	} {
		p := compile(t, &config.Policy{GeoIP: &config.GeoIP{CountryDB: path, CityDB: "/isn't/needed.mmdb"}, Authorization: &c.authorization}, withGeo(t))
		v := check(t, p, request("GET /"))
		if status(v) != c.want || v.Reason != c.reason {
			t.Errorf("%s: %d (%s)", name, status(v), v.Reason)
		}
		place := p.Place(request("GET /").Conn().Client)
		if place == nil {
			t.Fatalf("%s: no place", name)
		}
		if code, known := place.Country(); !known || code != "CH" {
			t.Errorf("%s: explained as %q", name, code)
		}
	}
}

// Nothing is decided before the databases are there, whatever rule would have matched first.
func TestS40WithoutItsDatabaseAPolicyAnswers503(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.mmdb")
	p := compile(t, &config.Policy{GeoIP: &config.GeoIP{CountryDB: path}, Authorization: &config.Authorization{DefaultAllow: true, Rules: []config.Rule{
		{Name: "everybody", Allow: true, Methods: []string{"GET"}}, {Name: "no", Locations: []config.GeoLocation{{Country: "SE"}}},
	}}}, withGeo(t))
	if v := check(t, p, request("GET /")); status(v) != 503 || v.Reason != policy.ReasonGeoMissing || p.Place(request("GET /").Conn().Client) != nil {
		t.Errorf("%d (%s)", status(v), v.Reason)
	}
	geotest.Replace(t, path, countries(t, "CH"))
	for deadline := time.Now().Add(20 * time.Second); status(check(t, p, request("GET /"))) != 200; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the database isn't taken")
		}
	}
}

func TestLocationsWithoutDatabasesMakeThePolicyUnusable(t *testing.T) {
	t.Parallel()
	rules := func(l config.GeoLocation) *config.Authorization {
		return &config.Authorization{DefaultAllow: true, Rules: []config.Rule{{}, {Locations: []config.GeoLocation{{Country: "CH"}, l}}}}
	}
	some := &config.GeoIP{CountryDB: "/a.mmdb"}
	for name, c := range map[string]struct {
		spec config.Policy
		says string
	}{
		"none at all":        {config.Policy{Authorization: rules(config.GeoLocation{Country: "SE"})}, "rules[1].principal.clientIPGeoLocations[0].country: there is no database for it; configure geoIP.provider.maxMind.countryDbSource or cityDbSource"},
		"city":               {config.Policy{GeoIP: some, Authorization: rules(config.GeoLocation{City: "Bern"})}, "[1].city: there is no database for it; configure geoIP.provider.maxMind.cityDbSource"},
		"region":             {config.Policy{GeoIP: some, Authorization: rules(config.GeoLocation{Region: "BE"})}, "[1].region: "},
		"system":             {config.Policy{GeoIP: some, Authorization: rules(config.GeoLocation{ASN: 1})}, "asnDbSource or ispDbSource"},
		"provider":           {config.Policy{GeoIP: some, Authorization: rules(config.GeoLocation{ISP: "Tele"})}, "ispDbSource"},
		"anonymous networks": {config.Policy{GeoIP: some, Authorization: rules(config.GeoLocation{Anonymous: &config.AnonymousMatch{IsTor: new(true)}})}, "anonymousIpDbSource"},
		"a program without":  {config.Policy{GeoIP: some, Authorization: rules(config.GeoLocation{Country: "SE"})}, "opens no databases"},
		"a relative path":    {config.Policy{GeoIP: &config.GeoIP{CountryDB: "a.mmdb"}, Authorization: rules(config.GeoLocation{Country: "SE"})}, "absolute"},
	} {
		deps := policy.Deps{}
		if name == "a relative path" {
			withGeo(t)(&deps)
		}
		c.spec.Name = "team-a/shop"
		if _, err := policy.Compile(&c.spec, deps); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
