package rules

import (
	"fmt"
	"net/netip"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// addresses are ranges of which one must hold the client's address.
type addresses []netip.Prefix

func (c *compiler) addresses(spec *config.Rule) ([]condition, error) {
	if len(spec.ClientCIDRs) == 0 {
		return nil, nil
	}
	out := make(addresses, 0, len(spec.ClientCIDRs))
	for _, text := range spec.ClientCIDRs {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("principal.clientCIDRs: %w", err)
		}
		out = append(out, prefix)
	}
	if c.cidrs += len(out); c.cidrs > maxCIDRs {
		return nil, fmt.Errorf("principal.clientCIDRs: the policy's rules have more than %d CIDRs", maxCIDRs)
	}
	return []condition{out}, nil
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

// judge doesn't know an address that the host couldn't tell: it might be in any of the ranges.
func (a addresses) judge(e *evaluation, _ bool) answer {
	client := e.Request.Conn().Client.Unmap().WithZone("")
	if !client.IsValid() {
		return unknown
	}
	for _, p := range a {
		if p.Contains(client) {
			return yes
		}
	}
	return no
}
