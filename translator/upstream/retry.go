package upstream

import (
	"slices"
	"strings"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
)

// maxRetries keeps a typing error from becoming a flood.
const maxRetries = 100

// triggers are those that mean something without a list of codes, which this kind of retry hasn't got.
var triggers = []egv1alpha1.TriggerEnum{
	egv1alpha1.Error5XX, egv1alpha1.GatewayError, egv1alpha1.Reset, egv1alpha1.ResetBeforeRequest, egv1alpha1.ConnectFailure,
	egv1alpha1.Retriable4XX, egv1alpha1.RefusedStream, egv1alpha1.Cancelled, egv1alpha1.DeadlineExceeded, egv1alpha1.Internal,
	egv1alpha1.ResourceExhausted, egv1alpha1.Unavailable,
}

func (c *checker) retry(r *egv1alpha1.Retry) {
	if r == nil {
		return
	}
	if n := r.NumRetries; n != nil && (*n < 0 || *n > maxRetries) {
		c.fault("retry.numRetries", "%d is not between 0 and %d", *n, maxRetries)
	}
	if r.NumAttemptsPerPriority != nil {
		c.fault("retry.numAttemptsPerPriority", "the server's addresses are of one priority; remove it")
	}
	if on := r.RetryOn; on != nil {
		if len(on.HTTPStatusCodes) > 0 {
			c.fault("retry.retryOn.httpStatusCodes", "Envoy asks this server again by triggers alone; use the trigger gateway-error or 5xx")
		}
		for i, trigger := range on.Triggers {
			if !slices.Contains(triggers, trigger) {
				c.fault("retry.retryOn.triggers", "[%d]: %q is not supported here", i, trigger)
			}
		}
	}
	if r.PerRetry == nil {
		return
	}
	if r.PerRetry.Timeout != nil {
		c.fault("retry.perRetry.timeout", "Envoy bounds a try at this server by backOff.maxInterval; write it there")
	}
	if b := r.PerRetry.BackOff; b != nil {
		c.duration("retry.perRetry.backOff.baseInterval", b.BaseInterval, time.Millisecond)
		c.duration("retry.perRetry.backOff.maxInterval", b.MaxInterval, time.Millisecond)
		if b.BaseInterval == nil || b.MaxInterval != nil && Duration(b.MaxInterval, 0) < Duration(b.BaseInterval, 0) {
			c.fault("retry.perRetry.backOff", "needs a baseInterval, and a maxInterval that isn't shorter")
		}
	}
}

// defaultTriggers are the failures after which the server hasn't dealt with the question.
const defaultTriggers = "connect-failure,refused-stream,unavailable,cancelled"

// Triggers returns when a server is asked again, in Envoy's form.
func Triggers(r *egv1alpha1.Retry) string {
	if r.RetryOn == nil || len(r.RetryOn.Triggers) == 0 {
		return defaultTriggers
	}
	all := make([]string, len(r.RetryOn.Triggers))
	for i, trigger := range r.RetryOn.Triggers {
		all[i] = string(trigger)
	}
	return strings.Join(all, ",")
}

// DefaultRetries is the API's own default.
const DefaultRetries = 2
