package rules

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
)

// locations are places of which the client's address must be at one.
type locations []config.GeoLocation

func (c *compiler) locations(spec *config.Rule) ([]condition, error) {
	if len(spec.Locations) == 0 {
		return nil, nil
	}
	if c.options.Locator == nil {
		return nil, errors.New("principal.clientIPGeoLocations: the policy has no databases")
	}
	if c.values += len(spec.Locations); c.values > maxValues {
		return nil, fmt.Errorf("principal.clientIPGeoLocations: the policy's rules have more than %d values", maxValues)
	}
	for i := range spec.Locations {
		if err := checkLocation(&spec.Locations[i]); err != nil {
			return nil, fmt.Errorf("principal.clientIPGeoLocations[%d]: %w", i, err)
		}
	}
	return []condition{locations(spec.Locations)}, nil
}

// checkLocation refuses what would match everywhere, or nowhere.
func checkLocation(l *config.GeoLocation) error {
	switch {
	case *l == config.GeoLocation{}:
		return errors.New("is empty; set country, region, city, asn, isp or anonymous")
	case l.Anonymous != nil && *l.Anonymous == config.AnonymousMatch{}:
		return errors.New("anonymous: is empty; set isAnonymous, isVPN, isHosting, isTor or isProxy")
	case l.Country != "" && !isCountry(l.Country):
		return fmt.Errorf("country: %q is no ISO 3166 code of two letters; write it like CH", l.Country)
	}
	return nil
}

func isCountry(code string) bool {
	return len(code) == 2 && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == ""
}

// judge doesn't know what the databases don't: the client might be at any of the places.
func (l locations) judge(e *evaluation, _ bool) answer {
	if e.place == nil {
		e.place = e.locator.At(e.Request.Conn().Client)
	}
	best := no
	for i := range l {
		if best = max(best, judgeLocation(e.place, &l[i])); best == yes {
			break
		}
	}
	return best
}

// judgeLocation is the least answer of the fields that are set.
func judgeLocation(at *geo.Place, l *config.GeoLocation) answer {
	found := min(matchText(l.Country, at.Country), matchText(l.Region, at.Region), matchText(l.City, at.City), matchText(l.ISP, at.ISP))
	if l.ASN != 0 {
		number, known := at.ASN()
		found = min(found, answerIf(known, number == l.ASN))
	}
	if m := l.Anonymous; m != nil {
		found = min(found, matchFlag(at, geo.IsAnonymous, m.IsAnonymous), matchFlag(at, geo.IsVPN, m.IsVPN),
			matchFlag(at, geo.IsHosting, m.IsHosting), matchFlag(at, geo.IsTor, m.IsTor), matchFlag(at, geo.IsProxy, m.IsProxy))
	}
	return found
}

func matchText(want string, look func() (value string, known bool)) answer {
	if want == "" {
		return yes
	}
	value, known := look()
	return answerIf(known, strings.EqualFold(value, want))
}

func matchFlag(at *geo.Place, flag geo.Flag, want *bool) answer {
	if want == nil {
		return yes
	}
	is, known := at.Is(flag)
	return answerIf(known, is == *want)
}

func answerIf(known, matches bool) answer {
	if !known {
		return unknown
	}
	return answerOf(matches)
}
