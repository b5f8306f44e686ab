package routing

import (
	"net/netip"
	"slices"
	"strings"

	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	customheader "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/custom_header/v3"
	xff "github.com/envoyproxy/go-control-plane/envoy/extensions/http/original_ip_detection/xff/v3"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/verdict"
)

// client is the client's address by the connection manager's detection, invalid where a header should tell it and
// can't be read: Envoy takes the peer then, and the authorizer doesn't believe that. status is the answer where the
// listener insists on an address.
func client(m *hcm.HttpConnectionManager, r *Request) (address netip.Addr, status int) {
	for _, extension := range m.GetOriginalIpDetectionExtensions() {
		byHeader, byForwarded := &customheader.CustomHeaderConfig{}, &xff.XffConfig{}
		switch config := extension.GetTypedConfig(); {
		case config.MessageIs(byHeader) && config.UnmarshalTo(byHeader) == nil:
			lines := values(r.Header, byHeader.GetHeaderName())
			if len(lines) > 0 {
				a, err := netip.ParseAddr(strings.TrimSpace(lines[0]))
				switch {
				case err == nil && len(lines) == 1:
					return a.Unmap(), 0
				case err == nil || byHeader.GetRejectWithStatus() == nil:
					return netip.Addr{}, 0
				}
			}
			if reject := byHeader.GetRejectWithStatus(); reject != nil {
				return netip.Addr{}, int(reject.GetCode())
			}
		case config.MessageIs(byForwarded) && config.UnmarshalTo(byForwarded) == nil:
			if value(r.Header, "x-forwarded-for") != "" {
				return forwarded(byForwarded, r), 0
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
	switch {
	case len(ranges) > 0 && !trusted(r.Peer.Unmap()):
		return r.Peer.Unmap() // what it says of others isn't read
	case len(ranges) > 0 && len(hops) > verdict.ReadEntries:
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
	return strings.Join(values(header, name), ",")
}

func values(header []exchange.Field, name string) (all []string) {
	for _, f := range header {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return all
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
