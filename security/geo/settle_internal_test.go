package geo

import (
	"net/netip"
	"os"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/geotest"
)

// A file that changes between two looks is being written: half of it must not be in force, even if that half
// happens to be a database.
func TestAFileThatIsBeingWrittenIsNotInForce(t *testing.T) {
	t.Parallel()
	contents := func(code string) []byte {
		return geotest.Database(t, geotest.Country, map[string]geotest.Record{"192.0.2.0/24": geotest.In(code)})
	}
	path := geotest.File(t, contents("CH"))
	d := New(Options{})
	s := newSource(d, path) // without a goroutine
	u := &use{kind: Country, source: s}
	l := &Locator{databases: d, uses: [slots]*use{countrySlot: u}}
	country := func() string {
		code, _ := l.At(netip.MustParseAddr("192.0.2.1")).Country()
		return code
	}
	s.hold(u)
	if got := country(); got != "CH" {
		t.Fatal(got)
	}
	for _, size := range []int{1, 2, 3} { // each time another size, whatever the clock says
		if err := os.WriteFile(path, append(contents("SE"), make([]byte, size)...), 0o600); err != nil {
			t.Fatal(err)
		}
		s.LookNow()
		if got := country(); got != "CH" {
			t.Fatalf("after %d writes: %q", size, got)
		}
	}
	s.LookNow()
	if got := country(); got != "SE" {
		t.Fatalf("once it stays the same: %q", got)
	}
}
