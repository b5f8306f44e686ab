// Package openid reads what OpenID providers say about themselves. It does no I/O.
package openid

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/security/strictjson"
)

// Document is a provider's description of itself (OpenID Connect Discovery 1.0 section 3), as far as a login
// needs it. Immutable.
type Document struct {
	Issuer string
	// AuthorizationEndpoint and TokenEndpoint are always there, EndSessionEndpoint may be "".
	AuthorizationEndpoint, TokenEndpoint, EndSessionEndpoint string
	// SecretInBody says that the token endpoint takes the client's secret in the body of the question only
	// (client_secret_post), and not by basic authentication, which is what a provider takes that says nothing.
	SecretInBody bool
}

// wellKnown is put behind an issuer without its last slash (section 4.1).
const wellKnown = "/.well-known/openid-configuration"

// The errors of URLs. They hold nothing of the URL.
var (
	ErrURL  = errors.New("must be an https URL")
	ErrOpen = errors.New("must be https: over http the client's secret or the user's code could be read")
)

// URL returns where an issuer's document is. The issuer is an https URL without query and fragment (section
// 2); http is for this machine.
func URL(issuer string) (string, error) {
	at, err := Endpoint(issuer, false)
	if err == nil && (at.RawQuery != "" || at.ForceQuery) {
		err = ErrURL
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(issuer, "/") + wellKnown, nil
}

// maxURL is longer than any endpoint, and short enough for the header that sends a user there.
const maxURL = 2048

// Endpoint reads the URL of an endpoint. It refuses what would send codes, secrets or users over an open
// line: http is for this machine unless open says otherwise. The error is ErrURL or ErrOpen.
func Endpoint(text string, open bool) (*url.URL, error) {
	at, err := url.Parse(text)
	switch {
	case err != nil, len(text) > maxURL, at.Hostname() == "", at.User != nil, strings.Contains(text, "#"), !printable(text), !isPort(at.Port()):
		return nil, ErrURL
	case at.Scheme == "https", at.Scheme == "http" && (open || Loopback(at.Hostname())):
		return at, nil
	case at.Scheme == "http":
		return nil, ErrOpen
	}
	return nil, ErrURL
}

// printable: everything else would have to be encoded (RFC 3986 section 2).
func printable(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

func isPort(text string) bool {
	number, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && number > 0
}

// Loopback reports whether a host is this machine.
func Loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// maxDepth is how deep a document may be nested; providers' own are flat.
const maxDepth = 16

// Parse reads the document that was fetched for an issuer. Its issuer must be exactly that one (section
// 4.3): else one provider could stand in for another. Its endpoints must be https, or http on this machine
// if the issuer is there too. Errors say what is wrong, and hold nothing of the text.
func Parse(issuer string, text []byte) (*Document, error) {
	value, err := strictjson.Decode(text, maxDepth)
	if err != nil {
		return nil, err
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("no JSON object")
	}
	if said, _ := members["issuer"].(string); said != issuer {
		return nil, errors.New("it names another issuer than the policy, which must be written exactly alike")
	}
	out := &Document{Issuer: issuer}
	for _, member := range []struct {
		name string
		into *string
		must bool
	}{
		{"authorization_endpoint", &out.AuthorizationEndpoint, true},
		{"token_endpoint", &out.TokenEndpoint, true},
		{"end_session_endpoint", &out.EndSessionEndpoint, false},
	} {
		said, there := members[member.name]
		if !there && !member.must {
			continue
		}
		if *member.into, err = endpoint(issuer, said); err != nil {
			return nil, fmt.Errorf("%s: %w", member.name, err)
		}
	}
	out.SecretInBody = secretInBody(members["token_endpoint_auth_methods_supported"])
	return out, nil
}

// secretInBody reads the token endpoint's ways of authentication. A list that names neither way of a shared
// secret changes nothing: providers leave out what they take.
func secretInBody(value any) bool {
	methods, _ := value.([]any)
	return slices.Contains(methods, any("client_secret_post")) && !slices.Contains(methods, any("client_secret_basic"))
}

func endpoint(issuer string, value any) (string, error) {
	text, _ := value.(string)
	at, err := Endpoint(text, false)
	if err != nil {
		return "", err
	}
	if at.Scheme != "https" && !strings.HasPrefix(issuer, "http:") {
		return "", ErrOpen
	}
	return text, nil
}
