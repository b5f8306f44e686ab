package envoy

import (
	"net/netip"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
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
				config.XffTrustedCidrs.Cidrs = append(config.XffTrustedCidrs.Cidrs, cidrRange(netip.MustParsePrefix(string(cidr))))
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
}

func cidrRange(p netip.Prefix) *core.CidrRange {
	return &core.CidrRange{AddressPrefix: p.Masked().Addr().String(), PrefixLen: number(uint32(p.Bits()))}
}
