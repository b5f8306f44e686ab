package geo

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// slot is a place of a [Locator] for a database.
type slot int

const (
	countrySlot slot = iota
	citySlot
	asnSlot
	ispSlot
	anonymousSlot
	slots
)

var slotKinds = [slots]Kind{Country, City, ASN, ISP, AnonymousIP}

func pathsOf(spec config.GeoIP) [slots]string {
	return [slots]string{spec.CountryDB, spec.CityDB, spec.ASNDB, spec.ISPDB, spec.AnonymousIPDB}
}

// Locator is one policy's set of databases. It is safe for concurrent use, and takes no lock.
type Locator struct {
	databases *Databases
	uses      [slots]*use // nil: not configured
	once      sync.Once
}

// use is a policy's use of a file.
type use struct {
	policy string
	kind   Kind
	source *source
	good   atomic.Pointer[database] // the last contents that are of the kind
	fault  error                    // why the newest are not; guarded by source.mu
}

// take has the use go on with other contents if they are of its kind. The caller holds source.mu.
func (u *use) take(db *database) {
	if u.fault = db.check(u.kind); u.fault == nil {
		u.good.Store(db)
		return
	}
	u.source.databases.sources.Log.Warn("database can't be used", "path", u.source.path, "policy", u.policy, "error", u.fault)
}

// Ready reports whether every database has been there. Once it is, it stays so.
func (l *Locator) Ready() bool {
	for _, u := range l.uses {
		if u != nil && u.good.Load() == nil {
			return false
		}
	}
	return true
}

// At returns what is known of an address. An invalid one is at no known place.
func (l *Locator) At(address netip.Addr) *Place {
	return &Place{locator: l, address: address.Unmap().WithZone("")}
}

// Close ends the use of the files. It may be called more than once; addresses may still be looked up.
func (l *Locator) Close() {
	l.once.Do(func() {
		for _, u := range l.uses {
			if u != nil {
				l.databases.release(u)
			}
		}
	})
}
