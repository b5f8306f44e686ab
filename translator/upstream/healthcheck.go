package upstream

import (
	"slices"
	"strings"
	"time"

	egv1alpha1 "github.com/envoyproxy/gateway/api/v1alpha1"
)

func (c *checker) healthCheck(h *egv1alpha1.HealthCheck) {
	if h == nil {
		return
	}
	c.percent("healthCheck.panicThreshold", h.PanicThreshold)
	c.passive(h.Passive)
	if h.Active != nil {
		c.active(h.Active)
	}
}

func (c *checker) passive(p *egv1alpha1.PassiveHealthCheck) {
	const field = "healthCheck.passive."
	if p == nil {
		return
	}
	c.duration(field+"interval", p.Interval, time.Millisecond)
	c.duration(field+"baseEjectionTime", p.BaseEjectionTime, time.Millisecond)
	c.percent(field+"failurePercentageThreshold", p.FailurePercentageThreshold)
	if n := p.MaxEjectionPercent; n != nil && (*n < 0 || *n > 100) {
		c.fault(field+"maxEjectionPercent", "%d is not between 0 and 100", *n)
	}
}

func (c *checker) active(a *egv1alpha1.ActiveHealthCheck) {
	const field = "healthCheck.active."
	c.duration(field+"timeout", a.Timeout, time.Millisecond)
	c.duration(field+"interval", a.Interval, time.Millisecond)
	c.duration(field+"initialJitter", a.InitialJitter, 0)
	if a.UnhealthyThreshold != nil && *a.UnhealthyThreshold == 0 || a.HealthyThreshold != nil && *a.HealthyThreshold == 0 {
		c.fault(field+"unhealthyThreshold", "thresholds begin with 1")
	}
	if a.Overrides != nil && a.Overrides.Port != 0 {
		c.fault(field+"overrides.port", "is not supported; the server's own port is asked")
	}
	if a.HealthCheckLog != nil {
		c.fault(field+"healthCheckLog", "is not supported by this version; remove it")
	}
	switch a.Type {
	case egv1alpha1.ActiveHealthCheckerTypeHTTP:
		c.askedByHTTP(a.HTTP)
	case egv1alpha1.ActiveHealthCheckerTypeTCP:
		if a.TCP != nil {
			c.payload(field+"tcp.send", a.TCP.Send)
			c.payload(field+"tcp.receive", a.TCP.Receive)
		}
	case egv1alpha1.ActiveHealthCheckerTypeGRPC:
		if !c.use.HTTP2 {
			c.fault(field+"type", "GRPC needs a server that is spoken to by HTTP/2; use HTTP or TCP")
		}
	default:
		c.fault(field+"type", "must be one of HTTP, TCP, GRPC")
	}
}

// methods are what Envoy may ask a server's health by.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"}

// withBody are those of them that Envoy sends a body by.
var withBody = []string{"POST", "PUT", "PATCH", "OPTIONS"}

func (c *checker) askedByHTTP(h *egv1alpha1.HTTPActiveHealthChecker) {
	const field = "healthCheck.active.http."
	if h == nil || !strings.HasPrefix(h.Path, "/") || !inHeader(h.Path) {
		c.fault(field+"path", "must begin with / and have no control characters")
		return
	}
	if h.Hostname != nil && !inHeader(*h.Hostname) {
		c.fault(field+"hostname", "must have no control characters")
	}
	if h.Method != nil && !slices.Contains(methods, *h.Method) {
		c.fault(field+"method", "must be one of %s", strings.Join(methods, ", "))
	}
	c.statuses(field+"expectedStatuses", h.ExpectedStatuses)
	c.statuses(field+"retriableStatuses", h.RetriableStatuses)
	c.payload(field+"expectedResponse", h.ExpectedResponse)
	c.payload(field+"requestBody", h.RequestBody)
	if h.RequestBody != nil && (h.Method == nil || !slices.Contains(withBody, *h.Method)) {
		c.fault(field+"requestBody", "needs a method that has a body: %s", strings.Join(withBody, ", "))
	}
}

// inHeader reports whether Envoy takes a text as a header's value; else it would refuse the whole cluster.
func inHeader(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func (c *checker) statuses(field string, codes []egv1alpha1.HTTPStatus) {
	for _, code := range codes {
		if code < 100 || code > 599 {
			c.fault(field, "%d is not between 100 and 599", code)
		}
	}
}

func (c *checker) payload(field string, p *egv1alpha1.ActiveHealthCheckPayload) {
	if p != nil && len(Payload(p)) == 0 {
		c.fault(field, "needs text for type Text, or binary for type Binary")
	}
}

// Payload returns the bytes of a payload.
func Payload(p *egv1alpha1.ActiveHealthCheckPayload) []byte {
	if p.Type == egv1alpha1.ActiveHealthCheckPayloadTypeText && p.Text != nil {
		return []byte(*p.Text)
	}
	return p.Binary
}
