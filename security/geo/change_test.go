package geo_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/geotest"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
)

// in is a Country database that knows one network.
func in(t testing.TB, country string) []byte {
	t.Helper()
	return geotest.Database(t, geotest.Country, map[string]geotest.Record{"192.0.2.0/24": geotest.In(country)})
}

func country(l *geo.Locator) string {
	code, _ := l.At(netip.MustParseAddr("192.0.2.1")).Country()
	return code
}

func TestAChangedDatabaseIsInForce(t *testing.T) {
	t.Parallel()
	inPlace := func(t testing.TB, path string, contents []byte) {
		t.Helper()
		if err := os.WriteFile(path, contents, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, replace := range map[string]func(t testing.TB, path string, contents []byte){"renamed": geotest.Replace, "written in place": inPlace} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := geotest.File(t, in(t, "CH"))
			l := open(t, databases(t, &logged{}), config.GeoIP{CountryDB: path})
			for i := range 5 {
				want := fmt.Sprintf("X%c", 'A'+i) // files of one size
				replace(t, path, in(t, want))
				await(t, want, func() bool { return country(l) == want })
			}
		})
	}
}

// Kubernetes changes a mounted ConfigMap by pointing a link to another folder.
func TestAChangedLinkIsInForce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for version, code := range map[string]string{"v1": "CH", "v2": "SE"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		geotest.Replace(t, filepath.Join(dir, version, "a.mmdb"), in(t, code))
	}
	link := func(to string) {
		if err := os.Symlink(to, filepath.Join(dir, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "data")); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	l := open(t, databases(t, &logged{}), config.GeoIP{CountryDB: filepath.Join(dir, "data", "a.mmdb")})
	if got := country(l); got != "CH" {
		t.Fatal(got)
	}
	link("v2")
	await(t, "the new folder's", func() bool { return country(l) == "SE" })
}

func TestADatabaseThatComesLaterIsTaken(t *testing.T) {
	t.Parallel()
	log, path := &logged{}, filepath.Join(t.TempDir(), "a.mmdb")
	l := open(t, databases(t, log), config.GeoIP{CountryDB: path})
	if l.Ready() || !log.has("database can't be read") || !log.has(path) {
		t.Fatal("ready without a file, or nobody was told")
	}
	geotest.Replace(t, path, in(t, "CH"))
	await(t, "ready", l.Ready)
	if got := country(l); got != "CH" {
		t.Error(got)
	}
	await(t, "told", func() bool { return log.has("database is there again") })
}

// The last good contents go on whatever becomes of the file, and it is told.
func TestS40ABrokenDatabaseKeepsTheLastGoodContents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		harm func(t *testing.T, path string)
		told func(s geo.State) bool
	}{
		"removed": {func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, func(s geo.State) bool { return s.LastError != "" }},
		"truncated": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
		}, func(s geo.State) bool { return s.LastError != "" }},
		"another kind": {func(t *testing.T, path string) {
			geotest.Replace(t, path, geotest.Database(t, geotest.ASN, map[string]geotest.Record{"192.0.2.0/24": geotest.System(1)}))
		}, func(s geo.State) bool { return s.Uses[0].Fault != "" && s.Uses[0].InForce }},
		"unreadable for everybody": {func(t *testing.T, path string) {
			geotest.Replace(t, path, append(make([]byte, 1<<20), in(t, "SE")...))
		}, func(s geo.State) bool { return s.LastError != "" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := geotest.File(t, in(t, "CH"))
			log := &logged{}
			d := databases(t, log)
			l := open(t, d, config.GeoIP{CountryDB: path})
			c.harm(t, path)
			await(t, "told", func() bool { return c.told(d.States()[0]) && log.has("database can't be") })
			if got := country(l); !l.Ready() || got != "CH" {
				t.Errorf("ready %v, %q", l.Ready(), got)
			}
			geotest.Replace(t, path, in(t, "SE"))
			await(t, "repaired", func() bool { return country(l) == "SE" })
			if s := d.States()[0]; s.LastError != "" || s.Uses[0].Fault != "" || s.LastSuccess.IsZero() {
				t.Errorf("still told: %+v", s)
			}
		})
	}
}

// TestS40ADatabaseIsReplacedUnderLoad: every look-up sees one of the contents as a whole.
func TestS40ADatabaseIsReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	contents := func(code, city string) []byte {
		return geotest.Database(t, geotest.City, map[string]geotest.Record{"192.0.2.0/24": geotest.At(code, "R", city)})
	}
	path := geotest.File(t, contents("CH", "Bern"))
	d := databases(t, &logged{})
	l := open(t, d, config.GeoIP{CityDB: path})
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				at := l.At(netip.MustParseAddr("192.0.2.1"))
				code, _ := at.Country()
				city, _ := at.City()
				if got := code + " " + city; got != "CH Bern" && got != "SE Malmö" || !l.Ready() {
					t.Errorf("%q, ready %v", got, l.Ready())
					return
				}
				d.States()
			}
		})
	}
	second := open(t, d, config.GeoIP{CityDB: path})
	for i := range 10 {
		next, want := contents("SE", "Malmö"), "SE"
		if i%2 == 1 {
			next, want = contents("CH", "Bern"), "CH"
		}
		geotest.Replace(t, path, next)
		await(t, want, func() bool { return country(l) == want && country(second) == want })
	}
	close(stop)
	running.Wait()
}

// One file is read once, for all policies, and looked at for as long as one of them uses it.
func TestPoliciesShareDatabases(t *testing.T) {
	t.Parallel()
	path := geotest.File(t, geotest.Database(t, geotest.City, map[string]geotest.Record{"192.0.2.0/24": geotest.At("CH", "ZH", "Zürich")}))
	d := databases(t, &logged{})
	first := open(t, d, config.GeoIP{CityDB: path, CountryDB: path})
	second, err := d.Open("team-b/shop", config.GeoIP{AnonymousIPDB: path})
	if err != nil {
		t.Fatal(err)
	}
	states := d.States()
	if len(states) != 1 || len(states[0].Uses) != 3 || states[0].Type != geotest.City || states[0].Built.Unix() != 1_700_000_000 {
		t.Fatalf("%+v", states)
	}
	if !first.Ready() || second.Ready() {
		t.Errorf("a use as something else harms others: %v, %v", first.Ready(), second.Ready())
	}
	second.Close()
	if states := d.States(); len(states[0].Uses) != 2 {
		t.Errorf("%+v", states)
	}
	first.Close()
	first.Close()
	if states := d.States(); len(states) != 0 {
		t.Errorf("%+v", states)
	}
	if got := country(first); got != "CH" {
		t.Errorf("after Close: %q", got)
	}
}
