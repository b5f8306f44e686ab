package doctor

import (
	"fmt"
	"time"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/ext_proc/processing_request_modifiers/mapped_attribute_builder/v3" // may stand in a configuration as Any
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/ext_proc/response_processors/save_processing_response/v3"          // likewise
	"google.golang.org/protobuf/encoding/protojson"
)

type mode = extprocfilterv3.ProcessingMode

const (
	none     = extprocfilterv3.ProcessingMode_NONE
	streamed = extprocfilterv3.ProcessingMode_STREAMED
	buffered = extprocfilterv3.ProcessingMode_BUFFERED
	duplex   = extprocfilterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	grpcMode = extprocfilterv3.ProcessingMode_GRPC
	send     = extprocfilterv3.ProcessingMode_SEND
	skip     = extprocfilterv3.ProcessingMode_SKIP
)

// defaultTimeout is message_timeout where it isn't set.
const defaultTimeout = 200 * time.Millisecond

// CheckJSON is Check of configurations as Envoy's JSON, with or without "@type"; route may be empty. The
// error says that one can't be read.
func CheckJSON(filter, route []byte, needs *Needs) ([]Finding, error) {
	f, err := decode(filter, new(extprocfilterv3.ExternalProcessor))
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	var r *extprocfilterv3.ExtProcPerRoute
	if len(route) > 0 {
		if r, err = decode(route, new(extprocfilterv3.ExtProcPerRoute)); err != nil {
			return nil, fmt.Errorf("route: %w", err)
		}
	}
	return Check(f, r, needs), nil
}

// Check returns what contradicts itself in a filter's configuration and, if route isn't nil, in the route's,
// and what of needs isn't met. Without needs (nil) it says what can be said of any processor. It changes
// nothing, and is used concurrently.
func Check(filter *extprocfilterv3.ExternalProcessor, route *extprocfilterv3.ExtProcPerRoute, needs *Needs) []Finding {
	c := &checkup{filter: filter, overrides: route.GetOverrides(), mode: filter.GetProcessingMode(), modeField: "processing_mode"}
	if route.GetDisabled() {
		if needs != nil {
			c.add(Error, "route.disabled", "the route switches the filter off", "remove disabled, or the processor from the route")
		}
		return c.findings
	}
	if m := c.overrides.GetProcessingMode(); m != nil {
		c.mode, c.modeField = m, "route.processing_mode"
	}
	c.modes()
	c.overriding()
	c.observability()
	c.timeouts()
	c.failures()
	c.description()
	if needs != nil {
		c.needs(needs)
	}
	return c.findings
}

// checkup is one run of Check.
type checkup struct {
	filter    *extprocfilterv3.ExternalProcessor
	overrides *extprocfilterv3.ExtProcOverrides
	mode      *mode // the effective one
	modeField string
	findings  []Finding
}

func (c *checkup) add(s Severity, field, message, remedy string) {
	c.findings = append(c.findings, Finding{Severity: s, Field: field, Message: message, Remedy: remedy})
}

// direction is one direction's part of a mode.
type direction struct {
	name               string
	body               extprocfilterv3.ProcessingMode_BodySendMode
	headers, trailers  bool
	bodyField, trailer string
}

func (c *checkup) directions() [2]direction {
	m := c.mode
	return [2]direction{
		{"request", m.GetRequestBodyMode(), m.GetRequestHeaderMode() != skip, m.GetRequestTrailerMode() == send,
			c.modeField + ".request_body_mode", c.modeField + ".request_trailer_mode"},
		{"response", m.GetResponseBodyMode(), m.GetResponseHeaderMode() != skip, m.GetResponseTrailerMode() == send,
			c.modeField + ".response_body_mode", c.modeField + ".response_trailer_mode"},
	}
}

// modes are contradictions within the processing mode.
func (c *checkup) modes() {
	sees := false
	for _, d := range c.directions() {
		sees = sees || d.headers || d.trailers || d.body != none
		switch d.body {
		case duplex:
			if !d.trailers {
				c.add(Error, d.trailer, "FULL_DUPLEX_STREAMED needs the trailers, and Envoy refuses the configuration", "set it to SEND")
			}
		case grpcMode:
			c.add(Error, d.bodyField, "mode GRPC isn't implemented: request bodies pass the processor by", "set FULL_DUPLEX_STREAMED with trailers SEND")
		case buffered:
			if d.name == "request" && c.mode.GetResponseHeaderMode() != skip {
				c.add(Warning, d.bodyField, "a body over the buffer limit may hang where response headers are sent: Envoy's 413 doesn't reach an HTTP/2 client",
					"set NONE and allow_mode_override, or keep larger bodies out before this filter")
			}
		case streamed:
			if c.filter.GetSendBodyWithoutWaitingForHeaderResponse() {
				c.add(Warning, "send_body_without_waiting_for_header_response", "no timer runs for the "+d.name+"'s chunks, and overrides are void",
					"remove it, unless the processor answers each chunk in any case")
			}
		}
	}
	if !sees {
		c.add(Warning, c.modeField, "nothing is sent, so the processor is never asked", "send at least the request's headers")
	}
	if !c.directions()[0].headers && c.directions()[0].body == duplex {
		c.add(Warning, c.modeField+".request_header_mode", "the body is streamed full-duplex without its headers", "set SEND")
	}
}

// overriding is about mode_override.
func (c *checkup) overriding() {
	if !c.filter.GetAllowModeOverride() {
		if len(c.filter.GetAllowedOverrideModes()) > 0 {
			c.add(Warning, "allowed_override_modes", "means nothing without allow_mode_override", "set allow_mode_override, or remove the list")
		}
		return
	}
	configured := c.filter.GetProcessingMode()
	switch {
	case configured.GetRequestBodyMode() == duplex || configured.GetResponseBodyMode() == duplex:
		c.add(Warning, "allow_mode_override", "Envoy ignores overrides where the filter's own body mode is FULL_DUPLEX_STREAMED",
			"set the body modes to NONE and let the processor ask for them, or remove allow_mode_override")
	case c.filter.GetSendBodyWithoutWaitingForHeaderResponse():
		c.add(Warning, "allow_mode_override", "Envoy ignores overrides with send_body_without_waiting_for_header_response", "remove one of the two")
	case c.filter.GetObservabilityMode():
		c.add(Warning, "allow_mode_override", "Envoy ignores overrides in observability mode", "remove one of the two")
	case configured.GetRequestHeaderMode() == skip && configured.GetResponseHeaderMode() == skip && c.overrides.GetProcessingMode() == nil:
		c.add(Warning, "allow_mode_override", "overrides come with the answers to headers, and none are sent", "send the request's headers")
	}
	for i, m := range c.filter.GetAllowedOverrideModes() {
		if m.GetRequestTrailerMode() == extprocfilterv3.ProcessingMode_DEFAULT || m.GetResponseHeaderMode() == extprocfilterv3.ProcessingMode_DEFAULT ||
			m.GetResponseTrailerMode() == extprocfilterv3.ProcessingMode_DEFAULT {
			c.add(Warning, fmt.Sprintf("allowed_override_modes[%d]", i), "modes are compared to the letter: DEFAULT doesn't match an override that says SEND or SKIP",
				"write out every mode")
		}
	}
	if c.overrides.GetProcessingMode() != nil {
		c.add(Warning, "route.processing_mode", "what an override leaves out it takes from the filter's mode, not from the route's", "have the processor set all six modes, as Gatehouse's SDK does")
	}
}

// observability is about observability_mode.
func (c *checkup) observability() {
	if !c.filter.GetObservabilityMode() {
		return
	}
	for _, d := range c.directions() {
		if d.body != none && d.body != streamed {
			c.add(Error, d.bodyField, fmt.Sprintf("observability mode sends no bodies in mode %v", d.body), "set STREAMED or NONE")
		}
	}
	if c.filter.GetFailureModeAllow() {
		c.add(Warning, "failure_mode_allow", "means nothing in observability mode, where answers are ignored", "remove it")
	}
}

// timeouts is about the message timer.
func (c *checkup) timeouts() {
	timeout, set := c.timeout()
	if c.filter.GetObservabilityMode() {
		return
	}
	switch {
	case !set:
		c.add(Warning, "message_timeout", "the default of 200 ms includes connecting: the first request after a restart gets 504", "set at least 1s")
	case timeout <= defaultTimeout:
		c.add(Warning, "message_timeout", fmt.Sprintf("%v includes connecting: the first request after a restart gets 504", timeout), "set at least 1s")
	}
	if limit := c.filter.GetMaxMessageTimeout(); limit != nil && limit.AsDuration() < timeout {
		c.add(Warning, "max_message_timeout", fmt.Sprintf("%v is shorter than message_timeout, so that an extension can only shorten it", limit.AsDuration()),
			"set it to what a slow answer may take")
	}
}

func (c *checkup) timeout() (d time.Duration, set bool) {
	if t := c.filter.GetMessageTimeout(); t != nil {
		return t.AsDuration(), true
	}
	return defaultTimeout, false
}

// failures is about what happens when the processor fails.
func (c *checkup) failures() {
	open, field := c.filter.GetFailureModeAllow(), "failure_mode_allow"
	if o := c.overrides.GetFailureModeAllow(); o != nil {
		open, field = o.GetValue(), "route.failure_mode_allow"
	}
	for _, d := range c.directions() {
		if open && d.body == duplex {
			c.add(Warning, field, "doesn't hold once a FULL_DUPLEX_STREAMED body has begun: what was sent of it is gone, and the exchange fails",
				"remove it, or set another body mode")
			break
		}
	}
	if s := c.filter.GetStatusOnError(); s != nil && s.GetCode() < 400 {
		c.add(Error, "status_on_error", fmt.Sprintf("%d makes a failure look like a success", s.GetCode()), "set a status of 500 or above")
	}
}

// decode reads JSON into m, which is returned.
func decode[M interface {
	*extprocfilterv3.ExternalProcessor | *extprocfilterv3.ExtProcPerRoute
	protoMessage
}](text []byte, m M) (M, error) {
	text, err := withoutType(text)
	if err != nil {
		return nil, err
	}
	return m, protojson.Unmarshal(text, m)
}
