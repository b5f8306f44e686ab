package gatewayapi

import (
	"net"
	"strings"
)

// normalHost folds case and drops a trailing dot.
func normalHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

// Intersect returns the hostnames under which a route is reachable through a listener: "*" stands for
// any. No result means that the route doesn't attach.
func Intersect(listener string, route []string) []string {
	if len(route) == 0 {
		if listener == "" {
			return []string{"*"}
		}
		return []string{listener}
	}
	var all []string
	for _, host := range route {
		if common, ok := intersect(listener, normalHost(host)); ok {
			all = append(all, common)
		}
	}
	return all
}

func intersect(a, b string) (string, bool) {
	switch {
	case a == "" || a == b:
		return b, true
	case covers(a, b):
		return b, true
	case covers(b, a):
		return a, true
	}
	return "", false
}

// covers reports whether wildcard, such as *.example.com, matches host with at least one more label.
// host may itself be a wildcard.
func covers(wildcard, host string) bool {
	suffix, ok := strings.CutPrefix(wildcard, "*")
	return ok && suffix != "" && strings.HasSuffix(host, suffix) && len(host) > len(suffix) && host != wildcard &&
		net.ParseIP(host) == nil
}
