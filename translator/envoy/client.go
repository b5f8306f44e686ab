package envoy

import (
	"net/netip"
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
	mutation "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlymutation "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	customheader "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/custom_header/v3"
	xff "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/xff/v3"
	httptype "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/gatehouse-proxy/gatehouse/translator/gatewayapi"
)

// detectClient says which address is the client's. Without settings, and with directSourceIP, it is
// the TCP peer's.
func detectClient(m *hcm.HttpConnectionManager, settings gatewayapi.ClientSettings) {
	d := settings.Detection
	switch {
	case d == nil, d.DirectSourceIP != nil:
		return
	case d.CustomHeader != nil:
		config := &customheader.CustomHeaderConfig{HeaderName: d.CustomHeader.Name, AllowExtensionToSetAddressAsTrusted: true}
		if d.CustomHeader.FailClosed != nil && *d.CustomHeader.FailClosed {
			config.RejectWithStatus = &httptype.HttpStatus{Code: httptype.StatusCode_Forbidden}
		}
		m.OriginalIpDetectionExtensions = []*core.TypedExtensionConfig{
			namedExtension("envoy.extensions.http.original_ip_detection.custom_header", typed(config)),
		}
	case d.XForwardedFor != nil:
		config := &xff.XffConfig{SkipXffAppend: boolean(d.XForwardedFor.DisableXForwardedForAppend != nil && *d.XForwardedFor.DisableXForwardedForAppend)}
		if len(d.XForwardedFor.TrustedCIDRs) > 0 {
			config.XffTrustedCidrs = &xff.XffTrustedCidrs{}
			for _, cidr := range d.XForwardedFor.TrustedCIDRs {
				config.XffTrustedCidrs.Cidrs = append(config.XffTrustedCidrs.Cidrs, cidrRanges(netip.MustParsePrefix(string(cidr)))...)
			}
		} else if hops := d.XForwardedFor.NumTrustedHops; hops != nil && *hops > 0 {
			// Envoy counts the hops beyond the first, Envoy Gateway all of them.
			config.XffNumTrustedHops = *hops - 1
		} else {
			return // no trusted hop: nothing in the header is to be believed
		}
		m.OriginalIpDetectionExtensions = []*core.TypedExtensionConfig{
			namedExtension("envoy.extensions.http.original_ip_detection.xff", typed(config)),
		}
	}
	// Envoy refuses detection extensions beside use_remote_address.
	m.UseRemoteAddress = boolean(false)
	m.EarlyHeaderMutationExtensions = []*core.TypedExtensionConfig{
		namedExtension("envoy.http.early_header_mutation.header_mutation", typed(withoutEnvoys())),
	}
}

// withoutEnvoys takes out of what clients send what Envoys tell each other and their backends in headers, before a route
// is chosen. Envoy does so itself where it uses the peer's address, and without it its own access log takes the path from
// there.
func withoutEnvoys() *earlymutation.HeaderMutation {
	out := &earlymutation.HeaderMutation{}
	for _, name := range []string{
		"x-envoy-original-path", "x-envoy-original-host", "x-envoy-external-address",
		"x-envoy-decorator-operation", "x-envoy-downstream-service-cluster", "x-envoy-downstream-service-node",
	} {
		out.Mutations = append(out.Mutations, &mutation.HeaderMutation{Action: &mutation.HeaderMutation_Remove{Remove: name}})
	}
	return out
}

// toldAddress is the format of the header by which the authorizer learns the client's address. Where a header of the
// request tells it, Envoy falls back to the peer, a proxy, if it can't be read. So the authorizer is told the port, which
// only a peer has, and how the address was looked for.
func toldAddress(settings gatewayapi.ClientSettings) string {
	const withPort = "%DOWNSTREAM_REMOTE_ADDRESS% "
	d := settings.Detection
	switch {
	case d == nil, d.DirectSourceIP != nil:
	case d.CustomHeader != nil:
		// Envoy reads % as the start of a command.
		return withPort + "header " + strings.ReplaceAll(strings.ToLower(d.CustomHeader.Name), "%", "%%")
	case len(d.XForwardedFor.TrustedCIDRs) > 0:
		return withPort + "networks" + appends(d.XForwardedFor)
	case d.XForwardedFor.NumTrustedHops != nil && *d.XForwardedFor.NumTrustedHops > 0:
		return withPort + "hops" + appends(d.XForwardedFor)
	}
	return "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
}

// appends says whether Envoy puts the peer behind what it has read.
func appends(x *egv1alpha1.XForwardedForSettings) string {
	if x.DisableXForwardedForAppend != nil && *x.DisableXForwardedForAppend {
		return ""
	}
	return " appended"
}

// cidrRanges are those of a network. Proxies that listen on IPv6 may write IPv4 addresses as mapped ones, which are in
// no range of IPv4 to Envoy: the proxy would be the client.
func cidrRanges(p netip.Prefix) []*core.CidrRange {
	all := []*core.CidrRange{cidrRange(p)}
	if p.Addr().Is4() {
		all = append(all, cidrRange(netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), p.Bits()+96)))
	}
	return all
}

func cidrRange(p netip.Prefix) *core.CidrRange {
	return &core.CidrRange{AddressPrefix: p.Masked().Addr().String(), PrefixLen: number(uint32(p.Bits()))}
}
