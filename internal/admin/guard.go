package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// guard keeps web pages out that a browser on this machine shows.
//
// A page can't read a foreign origin's answers unless its own name is made to resolve to loopback
// (DNS rebinding); then the Host header is that name, which no operator uses. What it can do without
// reading is a POST, which the browser marks by Sec-Fetch-Site or Origin.
//
// An address that isn't loopback was opened to the network on purpose and may have any name there;
// names are still checked if strict.
func (h *handler) guard(strict bool, next http.Handler) http.Handler {
	bound := hostOf(h.Address)
	checkHost := strict || isLoopback(bound)
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Cache-Control", "no-store")
		if checkHost && !h.acceptsHost(hostOf(r.Host), bound) {
			http.Error(w, "this Host is not accepted here: use the address or localhost", http.StatusForbidden)
			return
		}
		if err := crossOrigin.Check(r); err != nil {
			http.Error(w, "requests from other sites are not accepted", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *handler) acceptsHost(host, bound string) bool {
	if isLoopback(host) || slices.Contains(h.Hosts, host) || host != "" && host == bound {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	own, err := netip.ParseAddr(bound)
	// ":19000" binds every address as 0.0.0.0 does. An IP address can't be rebound.
	return bound == "" || err == nil && (own.IsUnspecified() || own.Unmap() == ip.Unmap())
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// hostOf returns the lower-case host of host[:port], an IPv6 address without brackets.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
