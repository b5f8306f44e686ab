package rules_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/geotest"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/rules"
)

// world has a database of every kind: 192.0.2.0/24 is all known, 198.51.100.0/24 only by its country.
func world(t testing.TB) rules.Options {
	t.Helper()
	d := geo.New(geo.Options{})
	t.Cleanup(d.Close)
	const known = "192.0.2.0/24"
	file := func(kind string, networks map[string]geotest.Record) string {
		return geotest.File(t, geotest.Database(t, kind, networks))
	}
	l, err := d.Open("p", config.GeoIP{
		CityDB:        file(geotest.City, map[string]geotest.Record{known: geotest.At("CH", "ZH", "Zürich"), "198.51.100.0/24": geotest.In("SE")}),
		ISPDB:         file(geotest.ISP, map[string]geotest.Record{known: geotest.Provider(64500, "Tele AG")}),
		AnonymousIPDB: file(geotest.AnonymousIP, map[string]geotest.Record{known: geotest.Anonymous("is_anonymous", "is_anonymous_vpn")}),
	})
	if err != nil || !l.Ready() {
		t.Fatal(err, d.States())
	}
	t.Cleanup(l.Close)
	return rules.Options{Locator: l}
}

func from(address string) rules.Input {
	var client netip.Addr
	if address != "" {
		client = netip.MustParseAddr(address)
	}
	return rules.Input{Request: exchange.NewRequest(exchange.Head{}, exchange.Conn{Client: client}, exchange.Header{}, exchange.Body{}, nil)}
}

// What the databases don't know might be anywhere: a rule that denies matches it, one that allows doesn't.
func TestLocationRules(t *testing.T) {
	t.Parallel()
	options := world(t)
	const known, onlyCountry, nowhere = "192.0.2.1", "198.51.100.1", "203.0.113.1"
	yes, no := new(true), new(false)
	type places = []config.GeoLocation
	type want struct{ allows, denies bool }
	matches, fails, unknown := want{true, true}, want{}, want{false, true}
	for name, c := range map[string]struct {
		places places
		client string
		want   want
	}{
		"country":                               {places{{Country: "CH"}}, known, matches},
		"country in other letters":              {places{{Country: "cH"}}, known, matches},
		"another country":                       {places{{Country: "SE"}}, known, fails},
		"region":                                {places{{Region: "zh"}}, known, matches},
		"another region":                        {places{{Region: "BE"}}, known, fails},
		"city":                                  {places{{City: "ZÜRICH"}}, known, matches},
		"another city":                          {places{{City: "Bern"}}, known, fails},
		"part of a city":                        {places{{City: "Zür"}}, known, fails},
		"system":                                {places{{ASN: 64500}}, known, matches},
		"another system":                        {places{{ASN: 64501}}, known, fails},
		"provider":                              {places{{ISP: "tele ag"}}, known, matches},
		"another provider":                      {places{{ISP: "Tele"}}, known, fails},
		"anonymous":                             {places{{Anonymous: &config.AnonymousMatch{IsAnonymous: yes}}}, known, matches},
		"not anonymous":                         {places{{Anonymous: &config.AnonymousMatch{IsAnonymous: no}}}, known, fails},
		"both flags":                            {places{{Anonymous: &config.AnonymousMatch{IsAnonymous: yes, IsVPN: yes}}}, known, matches},
		"one of two flags":                      {places{{Anonymous: &config.AnonymousMatch{IsAnonymous: yes, IsTor: yes}}}, known, fails},
		"one and not the other":                 {places{{Anonymous: &config.AnonymousMatch{IsVPN: yes, IsTor: no, IsProxy: no, IsHosting: no}}}, known, matches},
		"no hosting":                            {places{{Anonymous: &config.AnonymousMatch{IsHosting: yes}}}, known, fails},
		"no proxy":                              {places{{Anonymous: &config.AnonymousMatch{IsProxy: yes}}}, known, fails},
		"not listed":                            {places{{Anonymous: &config.AnonymousMatch{IsAnonymous: yes}}}, nowhere, fails},
		"not listed, and that is asked":         {places{{Anonymous: &config.AnonymousMatch{IsAnonymous: no}}}, nowhere, matches},
		"all fields":                            {places{{Country: "CH", Region: "ZH", City: "Zürich", ASN: 64500, ISP: "Tele AG", Anonymous: &config.AnonymousMatch{IsVPN: yes}}}, known, matches},
		"all but one":                           {places{{Country: "CH", Region: "ZH", City: "Bern", ASN: 64500, ISP: "Tele AG"}}, known, fails},
		"one of several":                        {places{{Country: "SE"}, {Country: "CH"}}, known, matches},
		"none of several":                       {places{{Country: "SE"}, {Country: "CH", City: "Bern"}}, known, fails},
		"S12 unknown address, country":          {places{{Country: "CH"}}, nowhere, unknown},
		"S12 unknown address, system":           {places{{ASN: 64500}}, nowhere, unknown},
		"S12 unknown address, provider":         {places{{ISP: "Tele AG"}}, nowhere, unknown},
		"S12 unknown city":                      {places{{City: "Malmö"}}, onlyCountry, unknown},
		"S12 unknown region of the country":     {places{{Country: "SE", Region: "M"}}, onlyCountry, unknown},
		"unknown region of another country":     {places{{Country: "CH", Region: "ZH"}}, onlyCountry, fails},
		"S12 one unknown, one not":              {places{{City: "Malmö"}, {Country: "CH"}}, onlyCountry, unknown},
		"one unknown, one that is":              {places{{City: "Malmö"}, {Country: "SE"}}, onlyCountry, matches},
		"S12 no address, country":               {places{{Country: "CH"}}, "", unknown},
		"S12 no address, anonymous":             {places{{Anonymous: &config.AnonymousMatch{IsAnonymous: yes}}}, "", unknown},
		"S12 no address, that it isn't one":     {places{{Anonymous: &config.AnonymousMatch{IsAnonymous: no}}}, "", unknown},
		"a mapped address":                      {places{{Country: "CH"}}, "::ffff:192.0.2.1", matches},
		"S12 unknown address, with a flag":      {places{{Country: "CH", Anonymous: &config.AnonymousMatch{IsVPN: no}}}, nowhere, unknown},
		"unknown address, without another flag": {places{{Country: "CH", Anonymous: &config.AnonymousMatch{IsVPN: yes}}}, nowhere, fails},
	} {
		for allow, want := range map[bool]bool{true: c.want.allows, false: c.want.denies} {
			if got := decide(t, config.Rule{Allow: allow, Locations: c.places}, from(c.client), options); got != want {
				t.Errorf("%s: a rule with Allow=%v matches: %v", name, allow, got)
			}
		}
	}
}

// With a condition about the address beside it, both must match.
func TestLocationsBesideOtherConditions(t *testing.T) {
	t.Parallel()
	options := world(t)
	for client, want := range map[string]bool{"192.0.2.1": true, "192.0.2.200": false, "203.0.113.1": false} {
		rule := config.Rule{Allow: true, ClientCIDRs: []string{"192.0.2.0/25", "203.0.113.0/24"}, Locations: []config.GeoLocation{{Country: "CH"}}}
		if got := decide(t, rule, from(client), options); got != want {
			t.Errorf("%s: %v", client, got)
		}
	}
}

func TestLocationsThatMakeNoSenseDontCompile(t *testing.T) {
	t.Parallel()
	options := world(t)
	for name, c := range map[string]struct {
		place   config.GeoLocation
		options rules.Options
		says    string
	}{
		"empty":                  {config.GeoLocation{}, options, "is empty"},
		"no flag":                {config.GeoLocation{Anonymous: &config.AnonymousMatch{}}, options, "anonymous: is empty"},
		"no country code":        {config.GeoLocation{Country: "Switzerland"}, options, "two letters"},
		"numbers":                {config.GeoLocation{Country: "C1"}, options, "two letters"},
		"S40 without a database": {config.GeoLocation{Country: "CH"}, rules.Options{}, "no databases"},
	} {
		_, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{Locations: []config.GeoLocation{c.place}}}}, c.options)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "rules[0].principal.clientIPGeoLocations") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := rules.Compile(&config.Authorization{Rules: []config.Rule{{Locations: make([]config.GeoLocation, 10_001)}}}, options); err == nil {
		t.Error("S43: 10001 places compile")
	}
}

func BenchmarkLocations(b *testing.B) {
	r, err := rules.Compile(&config.Authorization{Rules: []config.Rule{
		{Locations: []config.GeoLocation{{Country: "KP"}, {Country: "RU"}, {Country: "BY"}}}, {Allow: true, Locations: []config.GeoLocation{{City: "Bern"}, {City: "Zürich"}}},
	}}, world(b))
	if err != nil {
		b.Fatal(err)
	}
	in := from("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if allow, _ := r.Decide(b.Context(), in); !allow {
			b.Fatal("denied")
		}
	}
}
