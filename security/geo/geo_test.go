package geo_test

import (
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/geotest"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// often is an interval at which tests don't wait long.
const often = 2 * time.Millisecond

func databases(t testing.TB, log *logged) *geo.Databases {
	t.Helper()
	d := geo.New(geo.Options{Interval: often, MaxBytes: 1 << 20, Logger: slog.New(slog.NewTextHandler(log, nil))})
	t.Cleanup(d.Close)
	return d
}

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), text)
}

func open(t testing.TB, d *geo.Databases, spec config.GeoIP) *geo.Locator {
	t.Helper()
	l, err := d.Open("team-a/shop", spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// said writes what is known of an address in one line; ? is what isn't.
func said(l *geo.Locator, address string) string {
	at := l.At(netip.Addr{})
	if address != "" {
		at = l.At(netip.MustParseAddr(address))
	}
	var b strings.Builder
	text := func(value string, known bool) {
		if !known {
			value = "?"
		}
		b.WriteString(value + " ")
	}
	text(at.Country())
	text(at.Region())
	text(at.City())
	if number, known := at.ASN(); known {
		text("AS"+strings.Repeat("I", int(number)), true)
	} else {
		text("", false)
	}
	text(at.ISP())
	for _, flag := range []geo.Flag{geo.IsAnonymous, geo.IsVPN, geo.IsHosting, geo.IsTor, geo.IsProxy} {
		is, known := at.Is(flag)
		b.WriteString(map[[2]bool]string{{false, false}: "?", {false, true}: "-", {true, true}: "+"}[[2]bool{is, known}])
	}
	return b.String()
}

func TestWhatIsKnownOfAnAddress(t *testing.T) {
	t.Parallel()
	d := databases(t, &logged{})
	city := geotest.File(t, geotest.Database(t, geotest.City, map[string]geotest.Record{
		"192.0.2.0/24": geotest.At("CH", "ZH", "Zürich"), "2001:db8::/32": geotest.At("SE", "AB", "Stockholm"), "198.51.100.0/24": geotest.In("SE"),
	}))
	country := geotest.File(t, geotest.Database(t, geotest.Country, map[string]geotest.Record{"192.0.2.0/24": geotest.In("LI")}))
	asn := geotest.File(t, geotest.Database(t, geotest.ASN, map[string]geotest.Record{"192.0.2.0/24": geotest.System(3)}))
	isp := geotest.File(t, geotest.Database(t, geotest.ISP, map[string]geotest.Record{"192.0.2.0/24": geotest.Provider(4, "Tele")}))
	anonymous := geotest.File(t, geotest.Database(t, geotest.AnonymousIP, map[string]geotest.Record{
		"192.0.2.0/25": geotest.Anonymous("is_anonymous", "is_tor_exit_node"), "192.0.2.128/25": geotest.Anonymous("is_anonymous_vpn", "is_hosting_provider", "is_public_proxy"),
	}))
	v4 := geotest.File(t, geotest.DatabaseV4(t, geotest.AnonymousIP, map[string]geotest.Record{"192.0.2.0/24": geotest.Anonymous("is_anonymous")}))
	odd := geotest.File(t, geotest.Database(t, geotest.Country, map[string]geotest.Record{
		"198.51.100.0/24": geotest.In("SE"), "192.0.2.0/25": geotest.In(""), "192.0.2.128/25": {"country": geotest.Record{"iso_code": geotest.Record{}}},
	}))
	for name, c := range map[string]struct {
		spec          config.GeoIP
		address, want string
	}{
		"city":                        {config.GeoIP{CityDB: city}, "192.0.2.1", "CH ZH Zürich ? ? ?????"},
		"IPv6":                        {config.GeoIP{CityDB: city}, "2001:db8::1", "SE AB Stockholm ? ? ?????"},
		"a mapped address":            {config.GeoIP{CityDB: city}, "::ffff:192.0.2.1", "CH ZH Zürich ? ? ?????"},
		"an address with a zone":      {config.GeoIP{CityDB: city}, "2001:db8::1%eth0", "SE AB Stockholm ? ? ?????"},
		"only the country":            {config.GeoIP{CityDB: city}, "198.51.100.1", "SE ? ? ? ? ?????"},
		"country beside city":         {config.GeoIP{CityDB: city, CountryDB: country}, "192.0.2.1", "LI ZH Zürich ? ? ?????"},
		"no fallback for one address": {config.GeoIP{CityDB: city, CountryDB: country}, "2001:db8::1", "? AB Stockholm ? ? ?????"},
		"systems":                     {config.GeoIP{ASNDB: asn}, "192.0.2.1", "? ? ? ASIII ? ?????"},
		"a provider's system":         {config.GeoIP{ISPDB: isp}, "192.0.2.1", "? ? ? ASIIII Tele ?????"},
		"systems beside providers":    {config.GeoIP{ASNDB: asn, ISPDB: isp}, "192.0.2.1", "? ? ? ASIII Tele ?????"},
		"anonymous":                   {config.GeoIP{AnonymousIPDB: anonymous}, "192.0.2.1", "? ? ? ? ? +--+-"},
		"other flags":                 {config.GeoIP{AnonymousIPDB: anonymous}, "192.0.2.200", "? ? ? ? ? -++-+"},
		"not listed as anonymous":     {config.GeoIP{AnonymousIPDB: anonymous}, "203.0.113.1", "? ? ? ? ? -----"},
		"of the other IP version":     {config.GeoIP{AnonymousIPDB: v4}, "2001:db8::1", "? ? ? ? ? ?????"},
		"S12 an unknown address":      {config.GeoIP{CityDB: city, ASNDB: asn, ISPDB: isp}, "203.0.113.1", "? ? ? ? ? ?????"},
		"S12 no address":              {config.GeoIP{CityDB: city, AnonymousIPDB: anonymous}, "", "? ? ? ? ? ?????"},
		"S39 an empty value":          {config.GeoIP{CountryDB: odd}, "192.0.2.1", "? ? ? ? ? ?????"},
		"S39 a value of another type": {config.GeoIP{CountryDB: odd}, "192.0.2.200", "? ? ? ? ? ?????"},
	} {
		l := open(t, d, c.spec)
		if !l.Ready() {
			t.Errorf("%s: not ready: %+v", name, d.States())
		}
		if got := said(l, c.address); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// A file that can't be used makes nobody's address known, and says what to do.
func TestS40ADatabaseThatCannotBeUsedIsNamed(t *testing.T) {
	t.Parallel()
	good := geotest.Database(t, geotest.Country, map[string]geotest.Record{"192.0.2.0/24": geotest.In("CH")})
	directory := t.TempDir() + "/directory.mmdb"
	if err := os.Mkdir(directory, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spec config.GeoIP
		says string
	}{
		"missing":            {config.GeoIP{CountryDB: t.TempDir() + "/none.mmdb"}, "put the database there"},
		"directory":          {config.GeoIP{CountryDB: directory}, "no regular file"},
		"empty":              {config.GeoIP{CountryDB: geotest.File(t, nil)}, "MaxMind's format"},
		"another format":     {config.GeoIP{CountryDB: geotest.File(t, []byte("country,network\nCH,192.0.2.0/24\n"))}, "MaxMind's format"},
		"cut off":            {config.GeoIP{CountryDB: geotest.File(t, good[:len(good)/2])}, "MaxMind's format"},
		"too large":          {config.GeoIP{CountryDB: geotest.File(t, append(make([]byte, 1<<20), good...))}, "at most 1048576"},
		"another kind":       {config.GeoIP{AnonymousIPDB: geotest.File(t, good)}, "can't be used as Anonymous-IP"},
		"other fields":       {config.GeoIP{AnonymousIPDB: geotest.File(t, geotest.Database(t, "Acme-Anonymous", map[string]geotest.Record{"192.0.2.0/24": {"vpn": geotest.In("")}}))}, "has the fields of"},
		"without a network":  {config.GeoIP{AnonymousIPDB: geotest.File(t, geotest.Database(t, geotest.AnonymousIP, nil))}, "none of the first 0"},
		"country as city":    {config.GeoIP{CityDB: geotest.File(t, good)}, "can't be used as City"},
		"one good, one away": {config.GeoIP{CountryDB: geotest.File(t, good), CityDB: t.TempDir() + "/none.mmdb"}, "put the database there"},
	} {
		d := databases(t, &logged{})
		l := open(t, d, c.spec)
		if l.Ready() {
			t.Errorf("%s: ready", name)
		}
		told := ""
		for _, s := range d.States() {
			told += s.LastError
			for _, use := range s.Uses {
				told += use.Fault
			}
		}
		if !strings.Contains(told, c.says) || strings.Contains(told, "/none.mmdb") {
			t.Errorf("%s: told %q", name, told)
		}
	}
}

func TestPathsOfDatabases(t *testing.T) {
	t.Parallel()
	d := databases(t, &logged{})
	for _, path := range []string{"relative.mmdb", "/a/../b.mmdb", "/etc/shadow", "/a//b.mmdb"} {
		if _, err := d.Open("p", config.GeoIP{ISPDB: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if len(d.States()) != 0 {
		t.Errorf("still in use: %v", d.States())
	}
	d.Close()
	if _, err := d.Open("p", config.GeoIP{ISPDB: "/a.mmdb"}); err == nil {
		t.Error("opened after Close")
	}
}

func BenchmarkLookup(b *testing.B) {
	d := databases(b, &logged{})
	l := open(b, d, config.GeoIP{CityDB: geotest.File(b, geotest.Database(b, geotest.City, map[string]geotest.Record{"192.0.2.0/24": geotest.At("CH", "ZH", "Zürich")}))})
	address := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if code, known := l.At(address).Country(); !known || code != "CH" {
			b.Fatal(code)
		}
	}
}
