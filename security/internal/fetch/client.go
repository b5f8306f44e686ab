// Package fetch reaches what policies name by URL, key sets and bundles, under one set of rules (S26): https, public
// addresses only, bounded in time, size and redirects, without a proxy.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Timeout bounds one fetch as a whole.
const (
	Timeout      = 10 * time.Second
	maxRedirects = 3
)

var errPrivate = errors.New("the address is private, loopback or link-local; set allowPrivateAddresses if that is meant")

// NewClient returns a client that reaches public addresses only, unless private is set. It uses no
// proxy: a proxy would connect for us to what we refuse.
func NewClient(roots *x509.CertPool, private bool) *http.Client {
	dialer := &net.Dialer{Timeout: Timeout}
	if !private {
		// Control sees the address that is connected to, after the name was resolved: a name that
		// resolves to something else on a second look gains nothing.
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil || !public(addr.Addr()) {
				return errPrivate
			}
			return nil
		}
	}
	return &http.Client{
		Timeout: Timeout,
		Transport: &http.Transport{
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    Timeout,
			ResponseHeaderTimeout:  Timeout,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
			// Fetches are minutes apart; an idle connection would only delay noticing a moved server.
			DisableKeepAlives: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("more than %d redirects", maxRedirects)
			}
			if r.URL.Scheme != "https" {
				return errors.New("a redirect leaves https")
			}
			return nil
		},
	}
}

// CheckURI refuses what could never be fetched. http is for key servers inside one's own network only.
func CheckURI(uri string, private bool) error {
	parsed, err := url.Parse(uri)
	switch {
	case err != nil, parsed.Host == "":
		return errors.New("no absolute URL")
	case parsed.User != nil:
		return errors.New("must not hold a user or password")
	case parsed.Scheme == "https", parsed.Scheme == "http" && private:
	default:
		return errors.New("must be https; http needs allowPrivateAddresses")
	}
	if addr, err := netip.ParseAddr(parsed.Hostname()); err == nil && !private && !public(addr) {
		return errPrivate
	}
	return nil
}

// special are ranges beyond netip's own predicates that aren't the public internet (IANA special-purpose
// registries), or that carry an IPv4 address inside and so could smuggle a private one.
var special = parsePrefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "fec0::/10",
)

func parsePrefixes(texts ...string) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		prefixes[i] = netip.MustParsePrefix(text)
	}
	return prefixes
}

// public is false for every address that a fetch must not reach by itself. A mapped IPv4 address counts
// as what it maps.
func public(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, prefix := range special {
		if prefix.Contains(addr) {
			return false
		}
	}
	return true
}

// WithoutURL drops the URL from the client's error: states name it, and a redirect's could hold a secret.
func WithoutURL(err error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return wrapped.Err
	}
	return err
}

// Shown is a URL for people and labels: without user, query and fragment, which may be credentials.
func Shown(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	parsed.RawQuery, parsed.Fragment, parsed.User = "", "", nil
	return parsed.String()
}
