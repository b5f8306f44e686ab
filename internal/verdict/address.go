package verdict

import (
	"net/netip"
	"strings"
)

const (
	// ClientAddressKey is the extension that says where the client's address comes from. Its one value,
	// "header", means [ClientIPHeader]; anything else means the TCP peer.
	ClientAddressKey = "gatehouse.client-address"
	// ClientIPHeader carries the client's address as Envoy detected it, without a port.
	ClientIPHeader = "x-gatehouse-client-ip"
)

// ClientAddress reads the value of [ClientIPHeader]; what is no address is invalid.
func ClientAddress(value string) netip.Addr {
	ip, err := netip.ParseAddr(strings.Trim(value, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return PlainAddress(ip)
}

// PlainAddress is the form in which address ranges are written: IPv4 not mapped into IPv6, and no zone.
func PlainAddress(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }
