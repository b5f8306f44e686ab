package policy

import (
	"strings"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"

	"github.com/gatehouse-proxy/gatehouse/security/cors"
)

// CSRF refuses requests that change something and come from a page of another site.
type CSRF struct {
	// Origins may send such requests too: scheme://host[:port], scheme://*.host[:port] or *. Envoy
	// compares host and port alone.
	Origins []string
	// ShadowPerMillion of the requests are only counted.
	ShadowPerMillion uint32
}

func (r *resolver) csrf(spec *egv1alpha1.CSRF) *CSRF {
	if spec == nil {
		return nil
	}
	const field = "spec.csrf"
	out := &CSRF{}
	for i, origin := range spec.AdditionalOrigins {
		if _, _, err := cors.OriginPattern(string(origin)); err != nil || strings.HasPrefix(string(origin), "~") || origin == "null" {
			r.fault("%s.additionalOrigins[%d]: %q is not scheme://host[:port], scheme://*.host[:port] or *", field, i, origin)
		}
		out.Origins = append(out.Origins, string(origin))
	}
	if f := spec.ShadowFraction; f != nil {
		denominator := int64(100)
		if f.Denominator != nil {
			denominator = int64(*f.Denominator)
		}
		if f.Numerator < 0 || denominator < 1 || int64(f.Numerator) > denominator {
			r.fault("%s.shadowFraction: must be between none and all of the requests", field)
			return out
		}
		out.ShadowPerMillion = uint32(int64(f.Numerator) * 1_000_000 / denominator) //nolint:gosec // between 0 and a million
	}
	return out
}
