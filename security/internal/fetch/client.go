// Package fetch reaches what policies name by URL, key sets and bundles, under one set of rules (S26): https, public
// addresses only, bounded in time, size and redirects, without a proxy.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
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

var (
	errPrivate   = errors.New("the address is private, loopback or link-local; set allowPrivateAddresses if that is meant")
	errElsewhere = errors.New("a redirect leads to an address that is private, loopback or link-local")
)

// NewClient returns a client that reaches public addresses only, unless private is set. It uses no
// proxy: a proxy would connect for us to what we refuse.
func NewClient(roots *x509.CertPool, private bool) *http.Client {
	if private {
		return client(roots, dialer(nil).DialContext)
	}
	return client(roots, dialer(errPrivate).DialContext)
}

// NewClientOf returns a client that reaches one server, host:port, wherever it is, and beside it public
// addresses only: a redirect leads into no private network that whoever named the server didn't mean.
func NewClientOf(server string) *http.Client {
	there, elsewhere := dialer(nil), dialer(errElsewhere)
	return client(nil, func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == server {
			return there.DialContext(ctx, network, address)
		}
		return elsewhere.DialContext(ctx, network, address)
	})
}

// dialer refuses addresses that aren't public, unless refusal is nil.
func dialer(refusal error) *net.Dialer {
	dialer := &net.Dialer{Timeout: Timeout}
	if refusal != nil {
		// Control sees the address that is connected to, after the name was resolved: a name that
		// resolves to something else on a second look gains nothing.
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(address)
			if err != nil || !public(addr.Addr()) {
				return refusal
			}
			return nil
		}
	}
	return dialer
}

func client(roots *x509.CertPool, dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Timeout: Timeout,
		Transport: &http.Transport{
			DialContext:            dial,
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

// Get fetches a document: at most limit bytes of a 200. Errors hold neither URL nor text.
func Get(ctx context.Context, client *http.Client, uri, accept string, limit int64) (text []byte, header http.Header, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, nil, WithoutURL(err)
	}
	request.Header.Set("Accept", accept)
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, WithoutURL(err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the server answered %d", response.StatusCode)
	}
	text, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
	switch {
	case err != nil:
		return nil, nil, WithoutURL(err)
	case int64(len(text)) > limit:
		return nil, nil, fmt.Errorf("the answer is larger than %d bytes", limit)
	}
	return text, response.Header, nil
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
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
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
