package standalone

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	filterchainv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/filter_chain/v3"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-proxy/gatehouse/extproc/doctor"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// processors looks at the ext_proc filters that Envoy gets for contradictions.
func (c *Checked) processors() {
	seen := map[string]bool{}
	tell := func(name string, f doctor.Finding) {
		condition, ok := extProcCondition(name, f)
		if id := name + f.String(); ok && !seen[id] {
			seen[id] = true
			c.Facts = append(c.Facts, condition)
		}
	}
	for _, config := range c.Result.Snapshot.Resources[snapshot.Route] {
		routes := new(routev3.RouteConfiguration)
		if proto.Unmarshal(config.Body, routes) != nil {
			continue
		}
		for _, host := range routes.GetVirtualHosts() {
			for _, r := range host.GetRoutes() {
				names, filters := extProcs(r)
				for i, f := range filters {
					for _, finding := range doctor.Check(f, nil, nil) {
						tell(names[i], finding)
					}
				}
				for i, findings := range doctor.Chain(filters) {
					for _, finding := range findings {
						tell(names[i], finding)
					}
				}
			}
		}
	}
}

// extProcs are the ext_proc filters of a route's own chains, in order.
func extProcs(r *routev3.Route) (names []string, filters []*extprocfilterv3.ExternalProcessor) {
	for _, config := range r.GetTypedPerFilterConfig() {
		chain := new(filterchainv3.FilterChainConfigPerRoute)
		if config.UnmarshalTo(chain) != nil {
			continue
		}
		for _, f := range chain.GetFilterChain().GetFilters() {
			filter := new(extprocfilterv3.ExternalProcessor)
			if f.GetTypedConfig().UnmarshalTo(filter) == nil {
				names, filters = append(names, f.GetName()), append(filters, filter)
			}
		}
	}
	return names, filters
}

// extProcField is a prefix of a filter's field, and the field of spec.extProc[] that it stems from.
type extProcField struct{ filter, policy string }

// extProcFields are searched in order: longer prefixes come before shorter ones.
var extProcFields = []extProcField{
	{"processing_mode.request_body_mode", "processingMode.request.body"},
	{"processing_mode.response_body_mode", "processingMode.response.body"},
	{"processing_mode.request_trailer_mode", "processingMode.requestTrailers"},
	{"processing_mode.response_trailer_mode", "processingMode.responseTrailers"},
	{"processing_mode", "processingMode"},
	{"allow_mode_override", "processingMode.allowModeOverride"},
	{"max_message_timeout", "messageTimeout"},
	{"message_timeout", "messageTimeout"},
	{"failure_mode_allow", "failOpen"},
	{"status_on_error", "statusOnError"},
	{"observability_mode", "shadowMode"},
	{"metadata_options", "metadata"},
}

// extProcCondition says a finding about the filter of that name, envoyextensionpolicy/ns/name/extproc/i, of
// its policy.
func extProcCondition(name string, f doctor.Finding) (c status.Condition, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 5 || parts[0] != "envoyextensionpolicy" {
		return c, false
	}
	if _, err := strconv.Atoi(parts[4]); err != nil {
		return c, false
	}
	field := fmt.Sprintf("spec.extProc[%s]", parts[4])
	at := slices.IndexFunc(extProcFields, func(pair extProcField) bool { return strings.HasPrefix(f.Field, pair.filter) })
	if at >= 0 {
		field += "." + extProcFields[at].policy
	}
	c = status.Condition{
		Object: resource.Key{Kind: "EnvoyExtensionPolicy", Namespace: parts[1], Name: parts[2]},
		Type:   "Warning", True: true, Reason: "Contradiction", Message: fmt.Sprintf("%s: %s; %s", field, f.Message, f.Remedy),
	}
	if f.Severity == doctor.Error {
		c.Type = "PartiallyInvalid"
	}
	return c, true
}
