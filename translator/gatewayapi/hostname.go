package gatewayapi

import (
	"net"
	"regexp"
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

// Covers reports whether every request for host is one for the hostname of a listener; "" takes any.
func Covers(listener, host string) bool {
	return listener == "" || listener == host || covers(listener, host)
}

// Narrower reports whether hostname a takes less than b, which both take one common host.
func Narrower(a, b string) bool {
	wildA, wildB := strings.HasPrefix(a, "*"), strings.HasPrefix(b, "*")
	switch {
	case a == b || a == "":
		return false
	case b == "" || wildB && !wildA:
		return true
	}
	return wildA == wildB && len(a) > len(b)
}

// hostnameForm is the Gateway API's of a Hostname: a DNS name, of which the first label may be "*".
var hostnameForm = regexp.MustCompile(`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// validHostname accepts normal hostnames. Envoy would refuse some others together with all routes of the
// socket, and reads "admin.*" as a wildcard that the Gateway API doesn't have.
func validHostname(host string) bool { return len(host) <= 253 && hostnameForm.MatchString(host) }
