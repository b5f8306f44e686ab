// Package geotest writes databases in MaxMind's format for tests.
package geotest

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// The types of MaxMind's own databases.
const (
	Country     = "GeoLite2-Country"
	City        = "GeoLite2-City"
	ASN         = "GeoLite2-ASN"
	ISP         = "GeoIP2-ISP"
	AnonymousIP = "GeoIP2-Anonymous-IP"
)

// Record is what a database knows of a network.
type Record = mmdbtype.Map

// In returns a record of a Country database.
func In(country string) Record {
	return Record{"country": Record{"iso_code": mmdbtype.String(country), "names": Record{"en": mmdbtype.String("a country")}}}
}

// At returns a record of a City database.
func At(country, region, city string) Record {
	record := In(country)
	record["subdivisions"] = mmdbtype.Slice{Record{"iso_code": mmdbtype.String(region)}}
	record["city"] = Record{"names": Record{"en": mmdbtype.String(city), "de": mmdbtype.String("eine Stadt")}}
	return record
}

// System returns a record of an ASN database.
func System(number uint32) Record { return Record{"autonomous_system_number": mmdbtype.Uint32(number)} }

// Provider returns a record of an ISP database.
func Provider(number uint32, isp string) Record {
	record := System(number)
	record["isp"] = mmdbtype.String(isp)
	return record
}

// Anonymous returns a record of an Anonymous IP database with flags such as "is_tor_exit_node".
func Anonymous(flags ...mmdbtype.String) Record {
	record := Record{}
	for _, flag := range flags {
		record[flag] = mmdbtype.Bool(true)
	}
	return record
}

// Database returns one of a type, for IPv4 and IPv6 networks.
func Database(tb testing.TB, kind string, networks map[string]Record) []byte {
	tb.Helper()
	return write(tb, mmdbwriter.Options{DatabaseType: kind}, networks)
}

// DatabaseV4 returns one that can't be asked about IPv6 addresses.
func DatabaseV4(tb testing.TB, kind string, networks map[string]Record) []byte {
	tb.Helper()
	return write(tb, mmdbwriter.Options{DatabaseType: kind, IPVersion: 4}, networks)
}

func write(tb testing.TB, options mmdbwriter.Options, networks map[string]Record) []byte {
	tb.Helper()
	options.IncludeReservedNetworks = true // documentation networks are what tests use
	options.BuildEpoch = 1_700_000_000
	tree, err := mmdbwriter.New(options)
	if err != nil {
		tb.Fatal(err)
	}
	for cidr, record := range networks {
		_, network, err := net.ParseCIDR(cidr)
		if err != nil {
			tb.Fatal(err)
		}
		if err := tree.Insert(network, record); err != nil {
			tb.Fatal(err)
		}
	}
	var out bytes.Buffer
	if _, err := tree.WriteTo(&out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// File writes contents to a new file with a name that a database may have.
func File(tb testing.TB, contents []byte) (path string) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "test.mmdb")
	Replace(tb, path, contents)
	return path
}

// Replace puts contents at a path in one step, as programs that update databases do.
func Replace(tb testing.TB, path string, contents []byte) {
	tb.Helper()
	temporary := path + ".new"
	if err := os.WriteFile(temporary, contents, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		tb.Fatal(err)
	}
}
