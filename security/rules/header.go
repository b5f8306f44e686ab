package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// header is a comparison of all values that a request has under one name.
type header struct {
	name   string
	values []string
	owned  bool
}

func (c *compiler) headers(spec *config.Rule) ([]condition, error) {
	out := make([]condition, 0, len(spec.Headers))
	for i, h := range spec.Headers {
		if err := checkName(h.Name); err != nil {
			return nil, fmt.Errorf("principal.headers[%d].name: %w", i, err)
		}
		if err := c.count(h.Values); err != nil {
			return nil, fmt.Errorf("principal.headers[%d].values: %w", i, err)
		}
		out = append(out, &header{name: h.Name, values: h.Values, owned: c.options.Owned != nil && c.options.Owned(h.Name)})
	}
	return out, nil
}

// checkName refuses what is no plain header line: a rule about it would never match.
func checkName(name string) error {
	lower := strings.ToLower(name)
	switch {
	case strings.HasPrefix(name, ":"), lower == "host":
		return fmt.Errorf("%q can't be compared here; use operation for method and path, and a route's hostnames for the host", name)
	case strings.HasPrefix(lower, "x-gatehouse-"):
		return fmt.Errorf("%q: x-gatehouse- is reserved", name)
	case !exchange.IsToken(name):
		return fmt.Errorf("%q is no header name", name)
	}
	return nil
}

// judge examines every line of the name (S12): one value is enough to deny, all are needed to allow.
func (h *header) judge(e *evaluation, allow bool) answer {
	v := values{of: h, allow: allow, all: true}
	if h.owned {
		for i := range e.Set {
			v.line(e.Set[i].Name, e.Set[i].Value)
		}
	} else {
		for name, value := range e.Request.Header.All() {
			v.line(name, value)
		}
	}
	if allow {
		return answerOf(v.found && v.all)
	}
	return answerOf(v.some || len(v.lines) > 1 && h.joined(v.lines))
}

// joined compares lines as a proxy may join them (RFC 9110 section 5.3).
func (h *header) joined(lines []string) bool {
	return slices.Contains(h.values, strings.Join(lines, ",")) || slices.Contains(h.values, strings.Join(lines, ", "))
}

// values collects what the lines of one name say.
type values struct {
	of               *header
	allow            bool
	found, all, some bool
	lines            []string // only for deny rules
}

// line takes the spellings of a name that CGI-like servers merge (RFC 3875 section 4.1.18) for the same
// header, but only the name itself makes it present.
func (v *values) line(name, value string) {
	if !sameHeader(name, v.of.name) {
		return
	}
	v.found = v.found || strings.EqualFold(name, v.of.name) || v.of.owned
	value = strings.Trim(value, " \t")
	if !v.allow {
		v.lines = append(v.lines, value)
	}
	if slices.Contains(v.of.values, value) {
		v.some = true
		return
	}
	for element := range strings.SplitSeq(value, ",") {
		known := slices.Contains(v.of.values, strings.Trim(element, " \t"))
		v.some, v.all = v.some || known, v.all && known
	}
}

// sameHeader compares names without regard to ASCII case and with _ for -.
func sameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if folded(a[i]) != folded(b[i]) {
			return false
		}
	}
	return true
}

func folded(c byte) byte {
	switch {
	case c == '_':
		return '-'
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	}
	return c
}
