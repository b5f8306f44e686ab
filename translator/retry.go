package translator

import (
	"strings"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// defaultAttempts is how often a request is sent again if its route doesn't say.
const defaultAttempts = 2

func (b *routeBuilder) timeouts(rule *envoy.Rule, spec *gatewayv1.HTTPRouteTimeouts) {
	if spec == nil {
		return
	}
	var bad string
	rule.Request, bad = parseDuration(spec.Request)
	if bad == "" {
		rule.BackendRequest, bad = parseDuration(spec.BackendRequest)
	}
	if bad != "" {
		b.fault(rule, "UnsupportedValue", "timeouts: %q is not a duration; write 10s, 1500ms or 1h30m", bad)
	}
}

func (b *routeBuilder) retry(rule *envoy.Rule, spec *gatewayv1.HTTPRouteRetry) {
	if spec == nil {
		return
	}
	out := &envoy.Retry{Attempts: defaultAttempts}
	for _, code := range spec.Codes {
		if code < 400 || code > 599 {
			b.fault(rule, "UnsupportedValue", "retry.codes: %d is not between 400 and 599", code)
			continue
		}
		out.Codes = append(out.Codes, uint32(code))
	}
	if spec.Attempts != nil {
		if *spec.Attempts < 1 || *spec.Attempts > maxAttempts {
			b.fault(rule, "UnsupportedValue", "retry.attempts: %d is not between 1 and %d", *spec.Attempts, maxAttempts)
			return
		}
		out.Attempts = uint32(*spec.Attempts)
	}
	backoff, bad := parseDuration(spec.Backoff)
	if bad != "" || backoff != nil && *backoff > 0 && *backoff < time.Millisecond {
		b.fault(rule, "UnsupportedValue", "retry.backoff: %q is not a duration of 1 ms or more; write 100ms or 2s", *spec.Backoff)
		return
	}
	if backoff != nil {
		out.Backoff = *backoff
	}
	rule.Retry = out
}

// maxAttempts keeps a typing error from becoming a flood.
const maxAttempts = 100

func parseDuration(d *gatewayv1.Duration) (parsed *time.Duration, bad string) {
	if d == nil {
		return nil, ""
	}
	value, err := time.ParseDuration(string(*d))
	if err != nil || value < 0 || strings.HasPrefix(string(*d), "+") {
		return nil, string(*d)
	}
	return &value, ""
}
