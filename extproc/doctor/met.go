package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

// selfDescription is the initial metadata by which a filter tells Gatehouse's SDK what the protocol doesn't.
const selfDescription = "x-gatehouse-extproc"

// described returns the filter's self-description.
func (c *checkup) described() (text, field string, ok bool) {
	field = "grpc_service.initial_metadata"
	lists := [][]*corev3.HeaderValue{c.filter.GetGrpcService().GetInitialMetadata()}
	if s := c.overrides.GetGrpcService(); s != nil {
		lists[0] = s.GetInitialMetadata()
	}
	for _, list := range append(lists, c.overrides.GetGrpcInitialMetadata()) {
		for _, h := range list {
			if strings.EqualFold(h.GetKey(), selfDescription) {
				text, ok = h.GetValue(), true
			}
		}
	}
	return text, field, ok
}

// description holds a self-description against what it describes.
func (c *checkup) description() {
	text, field, ok := c.described()
	if !ok {
		return
	}
	words := strings.Split(text, ";")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	if words[0] != "v=1" {
		c.add(Warning, field, fmt.Sprintf("%s begins with %q, of which nothing is believed", selfDescription, words[0]), "begin with v=1")
		return
	}
	if slices.Contains(words, "override") && (!c.filter.GetAllowModeOverride() || len(c.filter.GetAllowedOverrideModes()) > 0) {
		c.add(Error, field, selfDescription+" promises overrides, which this filter ignores without a word", "remove override there, or set allow_mode_override without a list")
	}
	if slices.Contains(words, "trailers") && (c.mode.GetRequestTrailerMode() != send || c.mode.GetResponseTrailerMode() != send) {
		c.add(Error, field, selfDescription+" promises trailers, which aren't sent in both directions", "remove trailers there, or set both trailer modes to SEND")
	}
	if slices.Contains(words, "mutate-all") && !everyHeader(c.filter.GetMutationRules()) {
		c.add(Error, field, selfDescription+" promises edits of every header, and Envoy ignores some of them without a word",
			"remove mutate-all there, or set mutation_rules.allow_all_routing and allow_envoy, and nothing that disallows")
	}
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "untyped", "typed":
			c.promisedNamespaces(field, key, value)
		case "timeout", "max-timeout":
			c.promisedTimeout(field, key, value)
		}
	}
}

// everyHeader reports whether the rules let a processor edit whatever can be edited.
func everyHeader(rules *mutationrulesv3.HeaderMutationRules) bool {
	return rules.GetAllowAllRouting().GetValue() && rules.GetAllowEnvoy().GetValue() &&
		!rules.GetDisallowAll().GetValue() && !rules.GetDisallowSystem().GetValue() && rules.GetDisallowExpression() == nil
}

func (c *checkup) promisedNamespaces(field, kind, names string) {
	have := c.receiving().GetUntyped()
	if kind == "typed" {
		have = c.receiving().GetTyped()
	}
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(have, name) {
			c.add(Error, field, fmt.Sprintf("%s promises metadata namespace %q, which Envoy drops", selfDescription, name), "list it in metadata_options.receiving_namespaces."+kind)
		}
	}
}

// promisedTimeout: longer than it is, a processor is found too slow after Envoy has given up.
func (c *checkup) promisedTimeout(field, key, value string) {
	promised, err := time.ParseDuration(value)
	timeout, setting := c.filter.GetMaxMessageTimeout().AsDuration(), "max_message_timeout"
	if key == "timeout" {
		timeout, _ = c.timeout()
		setting = "message_timeout"
	}
	switch {
	case err != nil:
		c.add(Warning, field, fmt.Sprintf("%s says %s=%s, which is no duration, and isn't believed", selfDescription, key, value), `write it as "1.5s"`)
	case promised > timeout:
		c.add(Error, field, fmt.Sprintf("%s promises %s=%v, and %s is %v", selfDescription, key, promised, setting, timeout), "write the same in both")
	}
}

// honoursOverrides reports whether any override is taken.
func (c *checkup) honoursOverrides() bool {
	m := c.filter.GetProcessingMode()
	return c.filter.GetAllowModeOverride() && len(c.filter.GetAllowedOverrideModes()) == 0 && !c.filter.GetSendBodyWithoutWaitingForHeaderResponse() &&
		!c.filter.GetObservabilityMode() && m.GetRequestBodyMode() != duplex && m.GetResponseBodyMode() != duplex
}

// receiving are the namespaces that the processor may write, those of the route in place of the filter's.
func (c *checkup) receiving() *namespaces {
	if o := c.overrides.GetMetadataOptions().GetReceivingNamespaces(); o != nil {
		return o
	}
	return c.filter.GetMetadataOptions().GetReceivingNamespaces()
}

// forwarding are those that it gets to read.
func (c *checkup) forwarding() *namespaces {
	if o := c.overrides.GetMetadataOptions().GetForwardingNamespaces(); o != nil {
		return o
	}
	return c.filter.GetMetadataOptions().GetForwardingNamespaces()
}

type namespaces = extprocfilterv3.MetadataOptions_MetadataNamespaces

// needs holds a processor's needs against the filter.
func (c *checkup) needs(n *Needs) {
	if c.mode.GetRequestHeaderMode() == skip {
		c.add(Error, c.modeField+".request_header_mode", "the processor begins with the request's headers, which aren't sent", "set SEND")
	}
	asks := n.ResponseHeaders || n.ResponseTrailers || n.ResponseBody != Untouched
	if asks && c.mode.GetResponseHeaderMode() == skip && !c.honoursOverrides() {
		c.add(Error, c.modeField+".response_header_mode", "the processor waits for the response, whose headers aren't sent", "set SEND")
	}
	both := c.directions()
	c.body(both[0], n.RequestBody)
	c.body(both[1], n.ResponseBody)
	for i, wanted := range []bool{n.RequestTrailers, n.ResponseTrailers} {
		if wanted && !both[i].trailers && !c.honoursOverrides() {
			c.add(Error, both[i].trailer, "the processor reads the "+both[i].name+"'s trailers, which aren't sent", "set SEND")
		}
	}
	if n.Reply && c.filter.GetDisableImmediateResponse() {
		c.add(Error, "disable_immediate_response", "the processor's replies are taken for faults of the protocol", "remove it")
	}
	if n.Reply && c.filter.GetObservabilityMode() {
		c.add(Error, "observability_mode", "the processor's replies are ignored", "remove it")
	}
	if r := c.filter.GetMutationRules(); n.Routing && !r.GetAllowAllRouting().GetValue() {
		c.add(Error, "mutation_rules.allow_all_routing", "changes of host, :authority, :method and :scheme are ignored without a word", "set it to true")
	}
	if timeout, _ := c.timeout(); n.Pause > timeout && c.filter.GetMaxMessageTimeout().AsDuration() < n.Pause {
		c.add(Error, "message_timeout", fmt.Sprintf("the processor may take %v for an answer, and after %v the client gets 504", n.Pause, timeout),
			"raise it, or set max_message_timeout and extend it")
	}
	c.listed(n)
}

// body holds the use of one direction's body against its mode.
func (c *checkup) body(d direction, use Use) {
	if use == Untouched || c.honoursOverrides() { // else it asks for what it needs
		return
	}
	served := d.body == duplex || d.body == buffered || d.body == streamed && (use == Observe || d.trailers)
	switch {
	case c.filter.GetObservabilityMode() && use == Edit:
		c.add(Error, "observability_mode", "the "+d.name+"'s body is "+use.String()+", and answers are ignored", "remove it")
	case !served:
		c.add(Error, d.bodyField, fmt.Sprintf("the %s's body is %v, which mode %v doesn't allow", d.name, use, d.body),
			"set FULL_DUPLEX_STREAMED with trailers SEND, or NONE with allow_mode_override")
	case use == Edit && d.body == streamed:
		c.add(Warning, d.bodyField, "a body can be rewritten in STREAMED, not held: a denial comes when the upstream has seen the headers",
			"set FULL_DUPLEX_STREAMED with trailers SEND, or NONE with allow_mode_override")
	}
}

// listed holds namespaces and attributes against the lists.
func (c *checkup) listed(n *Needs) {
	missing := func(have, want []string, field, what string) {
		for _, name := range want {
			if !slices.Contains(have, name) {
				c.add(Error, field, fmt.Sprintf("%s %q isn't listed, and Envoy leaves it out without a word", what, name), "add it")
			}
		}
	}
	missing(c.receiving().GetUntyped(), n.Metadata, "metadata_options.receiving_namespaces.untyped", "the namespace that the processor writes,")
	missing(c.forwarding().GetUntyped(), n.Reads, "metadata_options.forwarding_namespaces.untyped", "the namespace that the processor reads,")
	missing(c.receiving().GetTyped(), n.TypedMetadata, "metadata_options.receiving_namespaces.typed", "the namespace that the processor writes,")
	missing(c.forwarding().GetTyped(), n.ReadsTyped, "metadata_options.forwarding_namespaces.typed", "the namespace that the processor reads,")
	missing(c.filter.GetRequestAttributes(), n.RequestAttributes, "request_attributes", "the attribute")
	missing(c.filter.GetResponseAttributes(), n.ResponseAttributes, "response_attributes", "the attribute")
}
