package verdict

import (
	"net/netip"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

const (
	// ClientAddressKey is the extension that says where the client's address comes from. Its one value,
	// "header", means [ClientIPHeader]; anything else means the TCP peer.
	ClientAddressKey = "gatehouse.client-address"
	// ClientIPHeader carries the client's address as Envoy detected it: by itself without a port, or with the port
	// and, after a blank, how the listener finds it. Then the request's own headers show whether it was found.
	ClientIPHeader = "x-gatehouse-client-ip"
)

// Ways in which a listener finds the client's address, as the translator writes them into [ClientIPHeader].
const (
	byHops     = "hops"     // X-Forwarded-For, behind so many proxies
	byNetworks = "networks" // X-Forwarded-For, behind the proxies of some networks
	byHeader   = "header"   // a header, whose name follows
	appended   = "appended" // follows the others: Envoy has put the peer behind what was in X-Forwarded-For

	forwardedFor = "x-forwarded-for"
)

// ReadEntries is how many entries of X-Forwarded-For Envoy reads to find one that isn't of its networks; of a longer
// header it reads none (Http::Utility::getLastNonTrustedAddressFromXFF).
const ReadEntries = 20

// ClientAddress reads the value of [ClientIPHeader]; what is no address is invalid. header is the request's: where
// it should have told the address and didn't, Envoy takes the peer for the client, which is then a proxy.
func ClientAddress(value string, header []exchange.Field) netip.Addr {
	address, way, told := strings.Cut(value, " ")
	if !told {
		ip, err := netip.ParseAddr(strings.Trim(value, "[]"))
		if err != nil {
			return netip.Addr{}
		}
		return PlainAddress(ip)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil || !found(at, way, header) {
		return netip.Addr{}
	}
	return PlainAddress(at.Addr())
}

// found reports whether the address is the client's: told by the header, or the peer's where nothing is told.
func found(at netip.AddrPort, way string, header []exchange.Field) bool {
	way, detail, _ := strings.Cut(way, " ")
	read := at.Port() == 0 // a peer has a port, an address in a header none
	if way == byHeader {
		lines := 0
		for i := range header {
			if strings.EqualFold(header[i].Name, detail) {
				lines++
			}
		}
		return read && lines == 1 || !read && lines == 0
	}
	if read {
		return way == byHops || way == byNetworks
	}
	entries := forwarded(header)
	if detail == appended && len(entries) > 0 {
		entries = entries[:len(entries)-1]
	}
	// A peer outside of the networks is the client itself, whatever it says of others. Of one inside, a header that
	// can be read would have been.
	return len(entries) == 0 || way == byNetworks && readable(entries)
}

// forwarded are the entries of X-Forwarded-For.
func forwarded(header []exchange.Field) (entries []string) {
	for i := range header {
		if strings.EqualFold(header[i].Name, forwardedFor) {
			entries = append(entries, strings.Split(header[i].Value, ",")...)
		}
	}
	return entries
}

// readable is stricter than Envoy: in doubt the address isn't known.
func readable(entries []string) bool {
	if len(entries) > ReadEntries {
		return false
	}
	for _, entry := range entries {
		ip, err := netip.ParseAddr(strings.Trim(entry, " \t"))
		if err != nil || ip.Zone() != "" {
			return false
		}
	}
	return true
}

// PlainAddress is the form in which address ranges are written: IPv4 not mapped into IPv6, and no zone.
func PlainAddress(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }
