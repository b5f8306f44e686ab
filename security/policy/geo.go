package policy

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
)

// compileGeo opens the databases that the rules look into, and no others: one that isn't needed can't make
// the policy unusable.
func (p *Policy) compileGeo(spec *config.Policy, deps Deps) (err error) {
	if spec.Authorization == nil {
		return nil
	}
	needed, missing := spec.GeoIP.For(spec.Authorization.Rules)
	switch {
	case len(missing) > 0:
		m := missing[0]
		return fmt.Errorf("authorization.rules[%d].principal.clientIPGeoLocations[%d].%s: there is no database for it; configure geoIP.provider.maxMind.%s", m.Rule, m.Location, m.Field, m.Needs)
	case needed == config.GeoIP{}:
		return nil
	case deps.Geo == nil:
		return errors.New("authorization: this program opens no databases for clientIPGeoLocations; use clientCIDRs")
	}
	if p.geo, err = deps.Geo.Open(spec.Name, needed); err != nil {
		return fmt.Errorf("authorization: %w", err)
	}
	return nil
}

// Place returns what the databases of the policy's rules know of an address: nil if no rule asks where the client
// is, or a database isn't there.
func (p *Policy) Place(client netip.Addr) *geo.Place {
	if p.geo == nil || !p.geo.Ready() {
		return nil
	}
	return p.geo.At(client)
}
