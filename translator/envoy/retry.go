package envoy

import (
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previous "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
)

// Retry says when a backend is asked again (GEP-1731).
type Retry struct {
	// Codes are answers that are no answers. A connection that fails or breaks, and a try that takes
	// longer than the backend's limit, always are.
	Codes    []uint32
	Attempts uint32 // beyond the first
	// Backoff bounds the wait before the first retry and doubles with each; 0 is Envoy's 25 ms. Envoy waits
	// a random part of it, so that clients don't come back all at once; it knows no lower bound.
	Backoff time.Duration
}

const (
	retryOn          = "connect-failure,refused-stream,reset"
	retryOnCodesToo  = retryOn + ",retriable-status-codes"
	longestBackoffBy = 10 // Envoy's own relation of the longest to the first
	anotherHostTries = 20 // how often to choose an endpoint that wasn't tried; then any will do
)

// limit bounds time and tries. Without retries there is one try, and the shorter limit is the only one.
// With them the backend's limit is each try's; the request is then bounded by the number of tries.
func limit(action *route.RouteAction, rule *Rule) {
	request, backend := rule.Request, rule.BackendRequest
	if rule.Retry == nil {
		if t := shorter(request, backend); t != nil {
			action.Timeout = duration(*t)
		}
		return
	}
	policy := &route.RetryPolicy{
		RetryOn: retryOn, RetriableStatusCodes: rule.Retry.Codes, NumRetries: number(rule.Retry.Attempts),
		// Another endpoint answers sooner than one that has just failed.
		RetryHostPredicate: []*route.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &route.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: typed(&previous.PreviousHostsPredicate{})},
		}},
		HostSelectionRetryMaxAttempts: anotherHostTries,
	}
	if len(rule.Retry.Codes) > 0 {
		policy.RetryOn = retryOnCodesToo
	}
	if rule.Retry.Backoff > 0 {
		policy.RetryBackOff = &route.RetryPolicy_RetryBackOff{
			BaseInterval: duration(rule.Retry.Backoff), MaxInterval: duration(longestBackoffBy * rule.Retry.Backoff),
		}
	}
	if backend != nil && *backend > 0 {
		policy.PerTryTimeout = duration(*backend)
	}
	switch {
	case request != nil:
		action.Timeout = duration(*request)
	case backend != nil:
		action.Timeout = duration(0)
	}
	action.RetryPolicy = policy
}

// shorter returns the shorter of the limits that are set; 0 turns a limit off.
func shorter(request, backend *time.Duration) *time.Duration {
	switch {
	case request == nil:
		return backend
	case backend == nil, *backend == 0:
		return request
	case *request == 0 || *backend < *request:
		return backend
	}
	return request
}
