package geo

import (
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Where databases have their fields (https://dev.maxmind.com/geoip/docs/databases).
var (
	countryPath = []any{"country", "iso_code"}
	regionPath  = []any{"subdivisions", 0, "iso_code"}
	cityPath    = []any{"city", "names", "en"}
	asnPath     = []any{"autonomous_system_number"}
	ispPath     = []any{"isp"}
	flagPaths   = [...][]any{{"is_anonymous"}, {"is_anonymous_vpn"}, {"is_hosting_provider"}, {"is_tor_exit_node"}, {"is_public_proxy"}}
)

func anonymousPaths() [][]any { return flagPaths[:] }

// Flag is a kind of anonymous network.
type Flag int

// The flags of an Anonymous IP database. A network may have several of them.
const (
	IsAnonymous Flag = iota
	IsVPN
	IsHosting
	IsTor
	IsProxy
)

// Place is what databases know of one address. All answers come from one state of each database. It is for
// one request: not safe for concurrent use.
type Place struct {
	locator *Locator
	address netip.Addr
	found   [slots]lookup
	texts   [texts]text
	// Decoding needs places on the heap; these are there already.
	number uint32
	is     bool
}

type lookup struct {
	done   bool
	result maxminddb.Result
}

// text is remembered: lists of countries compare it again and again.
type text struct {
	done, known bool
	value       string
}

// The texts that are remembered.
const (
	countryText = iota
	regionText
	cityText
	ispText
	texts
)

// in looks the address up in a database, once.
func (p *Place) in(s slot) (result maxminddb.Result, ok bool) {
	l := &p.found[s]
	if !l.done {
		use := p.locator.uses[s]
		if use == nil || !p.address.IsValid() {
			return result, false
		}
		db := use.good.Load()
		if db == nil {
			return result, false
		}
		l.result, l.done = db.reader.Lookup(p.address), true
	}
	return l.result, l.result.Err() == nil
}

// text is not known where it is missing or not a string.
func (p *Place) text(which int, s slot, path []any) (value string, known bool) {
	t := &p.texts[which]
	if !t.done {
		result, ok := p.in(s)
		t.known, t.done = ok && result.DecodePath(&t.value, path...) == nil && t.value != "", true
	}
	if !t.known {
		return "", false
	}
	return t.value, true
}

// Country returns the ISO code.
func (p *Place) Country() (code string, known bool) {
	if p.locator.uses[countrySlot] != nil {
		return p.text(countryText, countrySlot, countryPath)
	}
	return p.text(countryText, citySlot, countryPath)
}

// Region returns the ISO code of the largest subdivision.
func (p *Place) Region() (code string, known bool) { return p.text(regionText, citySlot, regionPath) }

// City returns the English name.
func (p *Place) City() (name string, known bool) { return p.text(cityText, citySlot, cityPath) }

// ISP returns the provider's name.
func (p *Place) ISP() (name string, known bool) { return p.text(ispText, ispSlot, ispPath) }

// ASN returns the number of the autonomous system.
func (p *Place) ASN() (number uint32, known bool) {
	s := ispSlot
	if p.locator.uses[asnSlot] != nil {
		s = asnSlot
	}
	result, ok := p.in(s)
	p.number = 0
	if !ok || result.DecodePath(&p.number, asnPath...) != nil {
		return 0, false
	}
	return p.number, p.number != 0
}

// Is reports whether the address is in such a network. It is known of every address that the database could
// have listed.
func (p *Place) Is(flag Flag) (is, known bool) {
	result, ok := p.in(anonymousSlot)
	p.is = false
	if !ok || result.DecodePath(&p.is, flagPaths[flag]...) != nil {
		return false, false
	}
	return p.is, true
}
