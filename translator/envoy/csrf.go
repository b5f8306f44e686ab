package envoy

import (
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	csrffilter "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/csrf/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"github.com/gatehouse-proxy/gatehouse/security/cors"
	"github.com/gatehouse-proxy/gatehouse/translator/policy"
)

// csrfPolicy refuses what isn't only counted. The filter counts a request where it doesn't refuse.
func csrfPolicy(c *policy.CSRF) *csrffilter.CsrfPolicy {
	out := &csrffilter.CsrfPolicy{FilterEnabled: perMillion(1_000_000 - c.ShadowPerMillion)}
	if c.ShadowPerMillion > 0 {
		out.ShadowEnabled = perMillion(1_000_000)
	}
	for _, origin := range c.Origins {
		if m := hostOf(origin); m != nil {
			out.AdditionalOrigins = append(out.AdditionalOrigins, m)
		}
	}
	return out
}

// hostOf matches what the filter compares: an origin's host and port, without the scheme.
func hostOf(origin string) *matcher.StringMatcher {
	literal, expression, err := cors.OriginPattern(origin)
	switch {
	case err != nil: // the policy was refused for it
		return nil
	case origin == "*":
		return regex(expression)
	case expression != "":
		_, host, _ := strings.Cut(expression, "://")
		return regex(host)
	}
	_, host, _ := strings.Cut(literal, "://")
	return exact(host)
}

func perMillion(n uint32) *core.RuntimeFractionalPercent {
	return &core.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: n, Denominator: typev3.FractionalPercent_MILLION}}
}
