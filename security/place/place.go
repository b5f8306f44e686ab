// Package place finds a credential where a policy says that requests carry it: in a header, a cookie or
// a query parameter.
package place

import (
	"errors"
	"net/url"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// The kinds of places.
const (
	Header Kind = iota
	Cookie
	Parameter
)

// Kind is what sort of place a Place is.
type Kind byte

// Place is one place. It is comparable.
type Place struct {
	Kind Kind
	// Name of the header in any case of letters, of the cookie or of the parameter exactly.
	Name string
	// Prefix before a header's credential, such as "Bearer ".
	Prefix string
}

// What [Place.Find] can't take for a credential. Neither quotes it.
var (
	// ErrAmbiguous indicates several values in one place.
	ErrAmbiguous = errors.New("several values where one may be")
	// ErrMalformed indicates a value that can't be decoded.
	ErrMalformed = errors.New("malformed value")
)

// Find returns the credential. found is true also for one that can't be any: its presence alone keeps a
// request from counting as one without credentials. Several values in one place are [ErrAmbiguous], for
// nobody knows which of them the upstream reads (S13).
func (p *Place) Find(r *exchange.Request) (value string, found bool, err error) {
	switch p.Kind {
	case Header:
		return p.fromHeader(r)
	case Cookie:
		return p.fromCookie(r)
	}
	return p.fromParameter(r)
}

// fromHeader counts a line without the prefix as none: Authorization may carry another scheme.
func (p *Place) fromHeader(r *exchange.Request) (string, bool, error) {
	value, lines := r.Header.Lookup(p.Name)
	if lines > 1 {
		return "", true, ErrAmbiguous
	}
	if lines == 0 {
		return "", false, nil
	}
	token, ok := cutPrefix(value, p.Prefix)
	return token, ok, nil
}

// cutPrefix compares a prefix that ends in a space without regard to case, for it is an authentication
// scheme (RFC 9110 section 11.1), and any other exactly. The bare scheme is an empty credential.
func cutPrefix(value, prefix string) (string, bool) {
	scheme, isScheme := strings.CutSuffix(prefix, " ")
	if !isScheme {
		return strings.CutPrefix(value, prefix)
	}
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	if rest != "" && exchange.IsToken(rest[:1]) { // another scheme, of which this one is the beginning
		return "", false
	}
	// Whatever else follows, some server takes it for the end of the scheme: the credential is there.
	return strings.Trim(rest, " "), true
}

// fromCookie reads every Cookie line, for HTTP/2 clients may split them (RFC 9113 section 8.2.3), and
// compares names exactly (RFC 6265 section 5.3).
func (p *Place) fromCookie(r *exchange.Request) (token string, found bool, err error) {
	for name, line := range r.Header.All() {
		if !strings.EqualFold(name, "cookie") {
			continue
		}
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if name != p.Name {
				if elsewhere(pair, p.Name) {
					return "", true, ErrAmbiguous
				}
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

// elsewhere reports whether some servers read a cookie of the name in a pair that isn't it by RFC 6265: they trim
// more around names than blanks, or part cookies at commas too (RFC 2965).
func elsewhere(pair, name string) bool {
	for part := range strings.SplitSeq(pair, ",") {
		other, _, assigned := strings.Cut(part, "=")
		if assigned && strings.TrimFunc(other, func(c rune) bool { return !exchange.IsToken(string(c)) }) == name {
			return true
		}
	}
	return false
}

// fromParameter splits the query by hand: what a library skips as malformed, an upstream may read.
func (p *Place) fromParameter(r *exchange.Request) (token string, found bool, err error) {
	_, query, ok := strings.Cut(r.Path(), "?")
	if !ok {
		return "", false, nil
	}
	for pair := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(rawName)
		if err != nil || name != p.Name {
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
