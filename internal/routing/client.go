package routing

import (
	"net/netip"
	"slices"
	"strings"

	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	customheader "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/custom_header/v3"
	xff "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/xff/v3"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// client is the client's address by the connection manager's detection. status is the answer where the
// address can't be told and the listener insists on it.
func client(m *hcm.HttpConnectionManager, r *Request) (address netip.Addr, status int) {
	for _, extension := range m.GetOriginalIpDetectionExtensions() {
		byHeader, byForwarded := &customheader.CustomHeaderConfig{}, &xff.XffConfig{}
		switch config := extension.GetTypedConfig(); {
		case config.MessageIs(byHeader) && config.UnmarshalTo(byHeader) == nil:
			if a, err := netip.ParseAddr(strings.TrimSpace(value(r.Header, byHeader.GetHeaderName()))); err == nil {
				return a.Unmap(), 0
			}
			if reject := byHeader.GetRejectWithStatus(); reject != nil {
				return netip.Addr{}, int(reject.GetCode())
			}
		case config.MessageIs(byForwarded) && config.UnmarshalTo(byForwarded) == nil:
			if a := forwarded(byForwarded, r); a.IsValid() {
				return a, 0
			}
		}
	}
	return r.Peer.Unmap(), 0
}

// forwarded reads X-Forwarded-For from its end: behind the trusted hops, or behind every trusted address.
func forwarded(config *xff.XffConfig, r *Request) netip.Addr {
	hops := strings.Split(value(r.Header, "x-forwarded-for"), ",")
	slices.Reverse(hops)
	ranges := config.GetXffTrustedCidrs().GetCidrs()
	trusted := func(a netip.Addr) bool {
		for _, c := range ranges {
			if base, err := netip.ParseAddr(c.GetAddressPrefix()); err == nil && netip.PrefixFrom(base, int(c.GetPrefixLen().GetValue())).Contains(a) {
				return true
			}
		}
		return false
	}
	if len(ranges) > 0 && !trusted(r.Peer.Unmap()) {
		return netip.Addr{}
	}
	last := netip.Addr{}
	for i, hop := range hops {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			return netip.Addr{}
		}
		last = a.Unmap()
		if len(ranges) > 0 && !trusted(last) || len(ranges) == 0 && i == int(config.GetXffNumTrustedHops()) {
			return last
		}
	}
	if len(ranges) > 0 {
		return last
	}
	return netip.Addr{}
}

// value joins the lines of a header.
func value(header []exchange.Field, name string) string {
	var all []string
	for _, f := range header {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return strings.Join(all, ",")
}

// received adds what Envoy adds of its own accord before it chooses a route, and removes what it removes.
func received(m *hcm.HttpConnectionManager, r *Request) []exchange.Field {
	scheme := "http"
	if r.TLS {
		scheme = "https"
	}
	out := slices.Clone(r.Header)
	if !validReferer(value(out, "referer")) {
		out = slices.DeleteFunc(out, func(f exchange.Field) bool { return strings.EqualFold(f.Name, "referer") })
	}
	if m.GetUseRemoteAddress().GetValue() && m.GetXffNumTrustedHops() == 0 {
		out = slices.DeleteFunc(out, func(f exchange.Field) bool { return strings.EqualFold(f.Name, "x-forwarded-proto") })
		if r.Peer.IsValid() {
			out = append(out, exchange.Field{Name: "x-forwarded-for", Value: r.Peer.Unmap().String()})
		}
	}
	if value(out, "x-forwarded-proto") == "" {
		out = append(out, exchange.Field{Name: "x-forwarded-proto", Value: scheme})
	}
	return out
}
