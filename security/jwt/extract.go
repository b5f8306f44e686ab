package jwt

import (
	"errors"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/place"
)

// location is one place where tokens are looked for, and the providers (bits) that look there.
type location struct {
	place.Place

	providers uint32
}

// defaultExtract is what Envoy's jwt_authn does without settings (RFC 6750 sections 2.1 and 2.3).
var defaultExtract = config.ExtractFrom{
	Headers: []config.ExtractHeader{{Name: "Authorization", ValuePrefix: "Bearer "}},
	Params:  []string{"access_token"},
}

// Places returns where a provider's tokens are looked for.
func Places(from *config.ExtractFrom) *config.ExtractFrom {
	if from == nil || len(from.Headers)+len(from.Cookies)+len(from.Params) == 0 {
		return &defaultExtract
	}
	return from
}

// addLocations merges a provider's places into the policy's, so that each is read once a request.
func addLocations(all []location, from *config.ExtractFrom, bit uint32) ([]location, error) {
	from = Places(from)
	add := func(l location) error {
		if l.Name == "" {
			return errors.New("extractFrom: a place without a name")
		}
		for i := range all {
			if all[i].Place == l.Place {
				all[i].providers |= bit
				return nil
			}
		}
		l.providers = bit
		all = append(all, l)
		return nil
	}
	for _, h := range from.Headers {
		if err := add(location{Place: place.Place{Kind: place.Header, Name: strings.ToLower(h.Name), Prefix: h.ValuePrefix}}); err != nil {
			return nil, err
		}
	}
	for _, name := range from.Cookies {
		if err := add(location{Place: place.Place{Kind: place.Cookie, Name: name}}); err != nil {
			return nil, err
		}
	}
	for _, name := range from.Params {
		if err := add(location{Place: place.Place{Kind: place.Parameter, Name: name}}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// find is [place.Place.Find] with errors that say that a token is there and isn't valid.
func (l *location) find(r *exchange.Request) (token string, found bool, err error) {
	token, found, err = l.Find(r)
	switch {
	case errors.Is(err, place.ErrAmbiguous):
		return "", true, ErrAmbiguous
	case err != nil:
		return "", true, ErrMalformed
	}
	return token, found, nil
}
