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
	extension, _ := detection(settings.Detection)
	if extension == nil {
		return
	}
	m.OriginalIpDetectionExtensions = []*core.TypedExtensionConfig{extension}
	// Envoy refuses detection extensions beside use_remote_address.
	m.UseRemoteAddress = boolean(false)
	m.EarlyHeaderMutationExtensions = []*core.TypedExtensionConfig{
		namedExtension("envoy.http.early_header_mutation.header_mutation", typed(withoutEnvoys())),
	}
}

// detection is how a header of the request tells the client's address, for Envoy and, as its way, for the authorizer;
// nil where the peer is the client.
func detection(d *egv1alpha1.ClientIPDetectionSettings) (extension *core.TypedExtensionConfig, way string) {
	switch {
	case d == nil:
		return nil, ""
	case d.CustomHeader != nil:
		return byHeader(d.CustomHeader)
	case d.XForwardedFor != nil:
		return byForwardedFor(d.XForwardedFor)
	}
	return nil, ""
}

func byHeader(h *egv1alpha1.CustomHeaderExtensionSettings) (extension *core.TypedExtensionConfig, way string) {
	config := &customheader.CustomHeaderConfig{HeaderName: h.Name, AllowExtensionToSetAddressAsTrusted: true}
	if h.FailClosed != nil && *h.FailClosed {
		config.RejectWithStatus = &httptype.HttpStatus{Code: httptype.StatusCode_Forbidden}
	}
	// Envoy reads % as the start of a command.
	way = "header " + strings.ReplaceAll(strings.ToLower(h.Name), "%", "%%")
	return namedExtension("envoy.extensions.http.original_ip_detection.custom_header", typed(config)), way
}

func byForwardedFor(x *egv1alpha1.XForwardedForSettings) (extension *core.TypedExtensionConfig, way string) {
	silent := x.DisableXForwardedForAppend != nil && *x.DisableXForwardedForAppend
	config := &xff.XffConfig{SkipXffAppend: boolean(silent)}
	switch {
	case len(x.TrustedCIDRs) > 0:
		way = "networks"
		config.XffTrustedCidrs = &xff.XffTrustedCidrs{}
		for _, cidr := range x.TrustedCIDRs {
			config.XffTrustedCidrs.Cidrs = append(config.XffTrustedCidrs.Cidrs, cidrRanges(netip.MustParsePrefix(string(cidr)))...)
		}
	case x.NumTrustedHops != nil && *x.NumTrustedHops > 0:
		way = "hops"
		// Envoy counts the hops beyond the first, Envoy Gateway all of them.
		config.XffNumTrustedHops = *x.NumTrustedHops - 1
	default:
		return nil, "" // no trusted hop: nothing in the header is to be believed
	}
	if !silent { // Envoy puts the peer behind what it has read
		way += " appended"
	}
	return namedExtension("envoy.extensions.http.original_ip_detection.xff", typed(config)), way
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
	if _, way := detection(settings.Detection); way != "" {
		return "%DOWNSTREAM_REMOTE_ADDRESS% " + way
	}
	return "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"
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
