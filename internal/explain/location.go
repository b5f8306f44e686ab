package explain

import (
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/security/geo"
)

// locationOf says what the databases of a policy's rules know of the client, "" if no rule asks or they aren't there.
func locationOf(at *geo.Place) string {
	if at == nil {
		return ""
	}
	var parts []string
	add := func(value string, known bool) {
		if known {
			parts = append(parts, value)
		}
	}
	add(at.City())
	add(at.Region())
	add(at.Country())
	if number, known := at.ASN(); known {
		parts = append(parts, fmt.Sprintf("AS%d", number))
	}
	add(at.ISP())
	for _, flag := range []struct {
		flag geo.Flag
		name string
	}{{geo.IsAnonymous, "anonymous"}, {geo.IsVPN, "VPN"}, {geo.IsHosting, "hosting"}, {geo.IsTor, "Tor"}, {geo.IsProxy, "proxy"}} {
		is, known := at.Is(flag.flag)
		add(flag.name, known && is)
	}
	if len(parts) == 0 {
		return "an unknown place"
	}
	return strings.Join(parts, ", ")
}
