package config

import (
	"cmp"
	"errors"
	"path/filepath"
	"strings"
)

// GeoIP names the databases in which addresses are looked up: files in MaxMind's DB format, each a clean
// absolute path; "" is none.
type GeoIP struct {
	// CountryDB is a Country database. Without it countries are looked up in CityDB.
	CountryDB string `json:",omitempty"`
	// CityDB is a City database.
	CityDB string `json:",omitempty"`
	// ASNDB is an ASN database. Without it autonomous systems are looked up in ISPDB.
	ASNDB string `json:",omitempty"`
	// ISPDB is an ISP database.
	ISPDB string `json:",omitempty"`
	// AnonymousIPDB is an Anonymous IP database. It lists the anonymous networks: an address that isn't in it
	// is none of them.
	AnonymousIPDB string `json:",omitempty"`
}

var errDatabasePath = errors.New("must be an absolute path without . or .. that ends in .mmdb")

// CheckDatabasePath says why a path can't be that of a database.
func CheckDatabasePath(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || !strings.HasSuffix(path, ".mmdb") {
		return errDatabasePath
	}
	return nil
}

// GeoLocation compares what databases know of the client's address. Everything that is set must match;
// letters match in any case. At least one field is set.
type GeoLocation struct {
	// Country is an ISO 3166-1 code of two letters.
	Country string `json:",omitempty"`
	// Region is the ISO 3166-2 code of the largest subdivision, without the country's, such as "CA".
	Region string `json:",omitempty"`
	// City is an English name.
	City string `json:",omitempty"`
	// ASN is the number of an autonomous system; 0: any.
	ASN uint32 `json:",omitempty"`
	// ISP is a provider's name.
	ISP string `json:",omitempty"`
	// Anonymous asks what kind of anonymous network it is; nil: doesn't matter.
	Anonymous *AnonymousMatch `json:",omitempty"`
}

// AnonymousMatch asks about an anonymous network. Each is true, false, or nil for what doesn't matter; at
// least one is set.
type AnonymousMatch struct {
	IsAnonymous, IsVPN, IsHosting, IsTor, IsProxy *bool `json:",omitempty"`
}

// Missing is a field of a rule that no database is configured for.
type Missing struct {
	// Rule and Location are indexes: of the rule, and of the entry in its Locations.
	Rule, Location int
	// Field is the entry's, such as "country".
	Field string
	// Needs names what to configure, as Envoy Gateway's EnvoyProxy has it below geoIP.provider.maxMind.
	Needs string
}

// For returns the databases that the rules look into, without the others, and what has none. g may be nil.
func (g *GeoIP) For(rules []Rule) (needed GeoIP, missing []Missing) {
	if g == nil {
		g = &GeoIP{}
	}
	for i := range rules {
		for k := range rules[i].Locations {
			g.need(&rules[i].Locations[k], &needed, func(field, needs string) {
				missing = append(missing, Missing{Rule: i, Location: k, Field: field, Needs: needs})
			})
		}
	}
	return needed, missing
}

// need adds the databases of one entry.
func (g *GeoIP) need(l *GeoLocation, needed *GeoIP, miss func(field, needs string)) {
	for _, n := range []struct {
		is           bool
		field, needs string
		among        *GeoIP
	}{
		{l.Country != "", "country", "countryDbSource or cityDbSource", g.countries()},
		{l.Region != "", "region", "cityDbSource", &GeoIP{CityDB: g.CityDB}},
		{l.City != "", "city", "cityDbSource", &GeoIP{CityDB: g.CityDB}},
		{l.ASN != 0, "asn", "asnDbSource or ispDbSource", g.systems()},
		{l.ISP != "", "isp", "ispDbSource", &GeoIP{ISPDB: g.ISPDB}},
		{l.Anonymous != nil, "anonymous", "anonymousIpDbSource", &GeoIP{AnonymousIPDB: g.AnonymousIPDB}},
	} {
		switch {
		case !n.is:
		case *n.among == GeoIP{}:
			miss(n.field, n.needs)
		default:
			needed.join(n.among)
		}
	}
}

// countries is the one database that countries are looked up in (MaxMindConfig.country_db_path).
func (g *GeoIP) countries() *GeoIP {
	if g.CountryDB != "" {
		return &GeoIP{CountryDB: g.CountryDB}
	}
	return &GeoIP{CityDB: g.CityDB}
}

// systems is the one database that autonomous systems are looked up in (MaxMindConfig.asn_db_path).
func (g *GeoIP) systems() *GeoIP {
	if g.ASNDB != "" {
		return &GeoIP{ASNDB: g.ASNDB}
	}
	return &GeoIP{ISPDB: g.ISPDB}
}

func (g *GeoIP) join(o *GeoIP) {
	*g = GeoIP{
		CountryDB: cmp.Or(g.CountryDB, o.CountryDB), CityDB: cmp.Or(g.CityDB, o.CityDB), ASNDB: cmp.Or(g.ASNDB, o.ASNDB),
		ISPDB: cmp.Or(g.ISPDB, o.ISPDB), AnonymousIPDB: cmp.Or(g.AnonymousIPDB, o.AnonymousIPDB),
	}
}
