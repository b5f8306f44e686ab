package jwt

import (
	"errors"
	"net/url"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// location is one place where tokens are looked for, and the providers (bits) that look there.
type location struct {
	kind      byte // 'h'eader, 'c'ookie, 'p'arameter
	name      string
	prefix    string
	providers uint32
}

// defaultExtract is what Envoy's jwt_authn does without settings (RFC 6750 sections 2.1 and 2.3).
var defaultExtract = config.ExtractFrom{
	Headers: []config.ExtractHeader{{Name: "Authorization", ValuePrefix: "Bearer "}},
	Params:  []string{"access_token"},
}

// addLocations merges a provider's places into the policy's, so that each is read once a request.
func addLocations(all []location, from *config.ExtractFrom, bit uint32) ([]location, error) {
	if from == nil || len(from.Headers)+len(from.Cookies)+len(from.Params) == 0 {
		from = &defaultExtract
	}
	add := func(l location) error {
		if l.name == "" {
			return errors.New("extractFrom: a place without a name")
		}
		for i := range all {
			if all[i].kind == l.kind && all[i].name == l.name && all[i].prefix == l.prefix {
				all[i].providers |= bit
				return nil
			}
		}
		l.providers = bit
		all = append(all, l)
		return nil
	}
	for _, h := range from.Headers {
		if err := add(location{kind: 'h', name: strings.ToLower(h.Name), prefix: h.ValuePrefix}); err != nil {
			return nil, err
		}
	}
	for _, name := range from.Cookies {
		if err := add(location{kind: 'c', name: name}); err != nil {
			return nil, err
		}
	}
	for _, name := range from.Params {
		if err := add(location{kind: 'p', name: name}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// find returns the location's token. found is true also for one that can't be a token: its presence
// alone keeps a request from counting as one without credentials. Several values in one place are
// [ErrAmbiguous], for nobody knows which of them the upstream reads (S13).
func (l *location) find(r *exchange.Request) (token string, found bool, err error) {
	switch l.kind {
	case 'h':
		return l.fromHeader(r)
	case 'c':
		return l.fromCookie(r)
	}
	return l.fromParameter(r)
}

// fromHeader counts a line without the prefix as no token: Authorization may carry another scheme.
func (l *location) fromHeader(r *exchange.Request) (string, bool, error) {
	value, lines := r.Header.Lookup(l.name)
	if lines > 1 {
		return "", true, ErrAmbiguous
	}
	if lines == 0 {
		return "", false, nil
	}
	token, ok := cutPrefix(value, l.prefix)
	return token, ok, nil
}

// cutPrefix compares a prefix that ends in a space without regard to case, for it is an authentication
// scheme (RFC 9110 section 11.1), and any other exactly. The bare scheme is an empty token.
func cutPrefix(value, prefix string) (string, bool) {
	scheme, isScheme := strings.CutSuffix(prefix, " ")
	if !isScheme {
		return strings.CutPrefix(value, prefix)
	}
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	if rest != "" && rest[0] != ' ' {
		return "", false
	}
	return strings.Trim(rest, " "), true
}

// fromCookie reads every Cookie line, for HTTP/2 clients may split them (RFC 9113 section 8.2.3), and
// compares names exactly (RFC 6265 section 5.3).
func (l *location) fromCookie(r *exchange.Request) (token string, found bool, err error) {
	for name, line := range r.Header.All() {
		if !strings.EqualFold(name, "cookie") {
			continue
		}
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if name != l.name {
				continue
			}
			if found {
				return "", true, ErrAmbiguous
			}
			token, found = strings.Trim(value, `"`), true
		}
	}
	return token, found, nil
}

// fromParameter splits the query by hand: what a library skips as malformed, an upstream may read.
func (l *location) fromParameter(r *exchange.Request) (token string, found bool, err error) {
	_, query, ok := strings.Cut(r.Path(), "?")
	if !ok {
		return "", false, nil
	}
	for pair := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || name != l.name {
			continue
		}
		if found {
			return "", true, ErrAmbiguous
		}
		found = true
		if token, err = url.QueryUnescape(rawValue); err != nil {
			return "", true, ErrMalformed
		}
	}
	return token, found, nil
}
