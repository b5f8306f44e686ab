// Package rules decides by the client's address: an ordered list of CIDR rules, the first match wins.
package rules

import (
	"fmt"
	"net/netip"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// maxRules and maxCIDRs bound what one policy may make every request walk through (S43).
const (
	maxRules = 1000
	maxCIDRs = 10000
)

// Rules is a compiled rule list. It is immutable and safe for concurrent use.
type Rules struct {
	rules        []rule
	defaultAllow bool
}

type rule struct {
	name     string
	allow    bool
	prefixes []netip.Prefix
}

// Compile checks and compiles spec. The error names the rule and says what to write instead.
func Compile(spec *config.Authorization) (*Rules, error) {
	if len(spec.Rules) > maxRules {
		return nil, fmt.Errorf("authorization.rules: %d rules, at most %d are supported", len(spec.Rules), maxRules)
	}
	out, total := &Rules{defaultAllow: spec.DefaultAllow}, 0
	for i, r := range spec.Rules {
		compiled := rule{name: r.Name, allow: r.Allow}
		for _, text := range r.ClientCIDRs {
			prefix, err := parsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("authorization.rules[%d].clientCIDRs: %w", i, err)
			}
			compiled.prefixes = append(compiled.prefixes, prefix)
		}
		if total += len(compiled.prefixes); total > maxCIDRs {
			return nil, fmt.Errorf("authorization.rules: more than %d CIDRs", maxCIDRs)
		}
		out.rules = append(out.rules, compiled)
	}
	return out, nil
}

// parsePrefix takes a CIDR. A mapped IPv4 range is turned into IPv4, for clients are compared unmapped
// and a rule that can never match would silently protect nothing.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no CIDR; write it like 10.0.0.0/8 or 192.0.2.1/32", text)
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q mixes IPv4 and IPv6; write the IPv4 range itself", text)
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

// Decide returns the verdict for a client and the name of the rule that made it, "" for the default.
//
// The invalid Addr is a client whose address nobody knows: it matches no Allow rule that has CIDRs and
// every Deny rule that has some, since it might be in any of them.
func (r *Rules) Decide(client netip.Addr) (allow bool, by string) {
	client = client.Unmap().WithZone("")
	for i := range r.rules {
		if r.rules[i].matches(client) {
			return r.rules[i].allow, r.rules[i].name
		}
	}
	return r.defaultAllow, ""
}

// matches is where an unknown address counts against the caller.
func (r *rule) matches(client netip.Addr) bool {
	if len(r.prefixes) == 0 {
		return true
	}
	if !client.IsValid() {
		return !r.allow
	}
	for _, p := range r.prefixes {
		if p.Contains(client) {
			return true
		}
	}
	return false
}
