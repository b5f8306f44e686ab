package cors

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// maxPattern bounds a regular expression of allowOrigins (S43).
const maxPattern = 1024

// label is one DNS label as browsers write it in an Origin: lower case, punycode.
const label = `[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?`

// anyHost is a name or an address.
const anyHost = `(` + label + `(\.` + label + `)*\.?|\[[0-9a-f:.]+\])`

// OriginPattern translates an entry of allowOrigins into what decides about an Origin: either the exact
// string, or a regular expression (RE2) that must match the whole value. Exactly one result is not
// empty.
//
//   - "null" and scheme://host[:port] are exact; a scheme's own port is dropped, as browsers do.
//   - "*" is any value.
//   - scheme://* is any host and port, scheme://*:port any host.
//   - scheme://*.host[:port] is any depth of labels below host, not host itself.
//   - "~" and an expression is that expression.
//
// The error says what is wrong with the entry.
func OriginPattern(entry string) (exact, regex string, err error) {
	if expression, found := strings.CutPrefix(entry, "~"); found {
		if err := checkExpression(expression); err != nil {
			return "", "", fmt.Errorf("%q: %w", entry, err)
		}
		return "", expression, nil
	}
	switch entry {
	case "*":
		return "", ".*", nil
	case "null":
		return entry, "", nil
	}
	scheme, host, port, err := splitOrigin(entry)
	if err != nil {
		return "", "", fmt.Errorf("%q: %w", entry, err)
	}
	if host == "*" {
		if port == "" {
			port = `(:[0-9]{1,5})?`
		}
		return "", regexp.QuoteMeta(scheme+"://") + anyHost + port, nil
	}
	if parent, found := strings.CutPrefix(host, "*."); found {
		return "", regexp.QuoteMeta(scheme+"://") + `(` + label + `\.)+` + regexp.QuoteMeta(parent+port), nil
	}
	return scheme + "://" + host + port, "", nil
}

// checkExpression compiles the expression alone first: in the anchoring group, one like `a)|(b` would
// become another expression.
func checkExpression(expression string) error {
	if expression == "" || len(expression) > maxPattern {
		return fmt.Errorf("the expression after ~ must have 1 to %d characters", maxPattern)
	}
	if _, err := regexp.Compile(expression); err != nil {
		return fmt.Errorf("no RE2 expression: %w", err)
	}
	return nil
}

// splitOrigin lowers the case, as browsers do before they send an origin (RFC 6454 section 6.2).
func splitOrigin(entry string) (scheme, host, port string, err error) {
	scheme, rest, found := strings.Cut(strings.ToLower(entry), "://")
	if !found || !schemeForm.MatchString(scheme) {
		return "", "", "", errors.New("an origin is scheme://host[:port], \"*\", \"null\", or \"~\" and an expression")
	}
	host = rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.HasSuffix(rest, "]") {
		host = rest[:i]
		if port, err = parsePort(scheme, rest[i+1:]); err != nil {
			return "", "", "", err
		}
	}
	if host != "*" && !validHost(host) {
		return "", "", "", errors.New("the host must be a name, an address, or *. and a name, without path or user")
	}
	return scheme, host, port, nil
}

func parsePort(scheme, text string) (string, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("port %q is not within 1 and 65535", text)
	}
	if scheme == "https" && n == 443 || scheme == "http" && n == 80 {
		return "", nil
	}
	return ":" + strconv.FormatUint(n, 10), nil
}

var (
	schemeForm = regexp.MustCompile(`^[a-z][a-z0-9+.-]*$`)
	hostForm   = regexp.MustCompile(`^(\*\.)?` + label + `(\.` + label + `)*\.?$`)
)

func validHost(host string) bool {
	if inner, found := strings.CutPrefix(host, "["); found {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		return err == nil && addr.Is6() && addr.Zone() == "" && strings.HasSuffix(host, "]")
	}
	return hostForm.MatchString(host)
}
