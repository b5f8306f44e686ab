package routing

import (
	"regexp"
	"strings"
)

// absolute is a URL as Envoy reads it (Http::Utility::Url): its user and its host with port.
var absolute = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://([A-Za-z0-9\-_.!~*'()%;:&=+$,]*@)?((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?)(?:[/?][^\x00-\x20#\x7f]*)?$`)

// HostAndPort is what Envoy takes for the host and port of a URL; what isn't one counts as it is.
func HostAndPort(url string) string {
	if parts := absolute.FindStringSubmatch(url); parts != nil {
		return parts[2]
	}
	return url
}

// validReferer reports whether the connection manager leaves the header (Http::Utility::isValidRefererValue): a URL
// without user and fragment, or a path.
func validReferer(value string) bool {
	if parts := absolute.FindStringSubmatch(value); parts != nil {
		return parts[1] == ""
	}
	before, _, _ := strings.Cut(value, "/")
	return !strings.Contains(before, ":") && !strings.ContainsAny(value, "#\"<>\\^`{|} ")
}
