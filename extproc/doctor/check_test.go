package doctor_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"

	"github.com/gatehouse-proxy/gatehouse/extproc/doctor"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

// good is a configuration of which nothing is to be said, but for what is added.
const good = `"grpc_service": {"envoy_grpc": {"cluster_name": "p"}}, "message_timeout": "1s"`

var cases = []struct {
	name          string
	filter, route string
	needs         *doctor.Needs
	want          []string // "severity field", in order
}{
	{"the recommended one", `"allow_mode_override": true, "max_message_timeout": "10s"`, "", &doctor.Needs{RequestBody: doctor.Edit, ResponseBody: doctor.Edit, ResponseTrailers: true}, nil},
	{"nothing asked of", "", "", &doctor.Needs{}, nil},

	{"full duplex without trailers", `"processing_mode": {"request_body_mode": "FULL_DUPLEX_STREAMED"}`, "", nil,
		[]string{"error processing_mode.request_trailer_mode"}},
	{"full duplex", `"processing_mode": {"response_body_mode": "FULL_DUPLEX_STREAMED", "response_trailer_mode": "SEND"}`, "", &doctor.Needs{ResponseBody: doctor.Edit}, nil},
	{"full duplex of a route", "", `{"overrides": {"processing_mode": {"request_body_mode": "FULL_DUPLEX_STREAMED"}}}`, nil,
		[]string{"error route.processing_mode.request_trailer_mode"}},
	{"GRPC", `"processing_mode": {"request_body_mode": "GRPC"}`, "", nil, []string{"error processing_mode.request_body_mode"}},
	{"buffered", `"processing_mode": {"request_body_mode": "BUFFERED"}`, "", &doctor.Needs{RequestBody: doctor.Edit}, []string{"warning processing_mode.request_body_mode"}},
	{"no-wait", `"processing_mode": {"request_body_mode": "STREAMED"}, "send_body_without_waiting_for_header_response": true`, "", nil,
		[]string{"warning send_body_without_waiting_for_header_response"}},
	{"nothing sent", `"processing_mode": {"request_header_mode": "SKIP", "response_header_mode": "SKIP"}`, "", nil, []string{"warning processing_mode"}},

	{"override of full duplex", `"allow_mode_override": true, "processing_mode": {"request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND"}`, "", nil,
		[]string{"warning allow_mode_override"}},
	{"override with no-wait", `"allow_mode_override": true, "send_body_without_waiting_for_header_response": true`, "", nil, []string{"warning allow_mode_override"}},
	{"override without headers", `"allow_mode_override": true, "processing_mode": {"request_header_mode": "SKIP", "response_header_mode": "SKIP", "request_trailer_mode": "SEND"}`, "", nil,
		[]string{"warning allow_mode_override"}},
	{"list without permission", `"allowed_override_modes": [{}]`, "", nil, []string{"warning allowed_override_modes"}},
	{"list with DEFAULT", `"allow_mode_override": true, "allowed_override_modes": [{"request_body_mode": "STREAMED"}]`, "", nil, []string{"warning allowed_override_modes[0]"}},
	{"override beside the route's mode", `"allow_mode_override": true`, `{"overrides": {"processing_mode": {}}}`, nil, []string{"warning route.processing_mode"}},

	{"observer of buffered bodies", `"observability_mode": true, "processing_mode": {"request_body_mode": "BUFFERED", "response_header_mode": "SKIP"}`, "", nil,
		[]string{"error processing_mode.request_body_mode"}},
	{"observer that fails open", `"observability_mode": true, "failure_mode_allow": true`, "", nil, []string{"warning failure_mode_allow"}},
	{"observer that replies", `"observability_mode": true`, "", &doctor.Needs{Reply: true}, []string{"error observability_mode"}},

	{"short timeout", `"message_timeout": "0.2s"`, "", nil, []string{"warning message_timeout"}},
	{"max below timeout", `"max_message_timeout": "0.5s"`, "", nil, []string{"warning max_message_timeout"}},
	{"slow processor", "", "", &doctor.Needs{Pause: 2 * time.Second}, []string{"error message_timeout"}},
	{"slow processor that may extend", `"max_message_timeout": "3s"`, "", &doctor.Needs{Pause: 2 * time.Second}, nil},

	{"fail open, full duplex", `"failure_mode_allow": true, "processing_mode": {"request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND"}`, "", nil,
		[]string{"warning failure_mode_allow"}},
	{"fail open by the route", `"processing_mode": {"request_body_mode": "FULL_DUPLEX_STREAMED", "request_trailer_mode": "SEND"}`, `{"overrides": {"failure_mode_allow": true}}`, nil,
		[]string{"warning route.failure_mode_allow"}},
	{"failure that looks like success", `"status_on_error": {"code": "OK"}`, "", nil, []string{"error status_on_error"}},

	{"description of another version", described("v=2; override"), "", nil, []string{"warning grpc_service.initial_metadata"}},
	{"description that promises too much", described("v=1; override; trailers; untyped=a"), "", nil,
		[]string{"error grpc_service.initial_metadata", "error grpc_service.initial_metadata", "error grpc_service.initial_metadata"}},
	{"description of other rules and times", described("v=1; mutate-all; typed=a; timeout=2s; max-timeout=9s") + `, "mutation_rules": {"allow_envoy": true}`, "", nil,
		[]string{"error grpc_service.initial_metadata", "error grpc_service.initial_metadata", "error grpc_service.initial_metadata", "error grpc_service.initial_metadata"}},
	{"description beside rules that disallow", described("v=1; mutate-all") +
		`, "mutation_rules": {"allow_envoy": true, "allow_all_routing": true, "disallow_all": true}`, "", nil, []string{"error grpc_service.initial_metadata"}},
	{"description beside rules about pseudo-headers", described("v=1; mutate-all") +
		`, "mutation_rules": {"allow_envoy": true, "allow_all_routing": true, "disallow_system": true}`, "", nil, []string{"error grpc_service.initial_metadata"}},
	{"description beside rules about names", described("v=1; mutate-all") +
		`, "mutation_rules": {"allow_envoy": true, "allow_all_routing": true, "disallow_expression": {"regex": "x-own-.*"}}`, "", nil, []string{"error grpc_service.initial_metadata"}},
	{"description with a time that is none", described("v=1; timeout=2"), "", nil, []string{"warning grpc_service.initial_metadata"}},
	{"true description of rules and times", described("v=1; mutate-all; typed=a; timeout=1s; max-timeout=9s") +
		`, "max_message_timeout": "9s", "mutation_rules": {"allow_envoy": true, "allow_all_routing": true}, "metadata_options": {"receiving_namespaces": {"typed": ["a"]}}`, "", nil, nil},
	{"typed namespaces", "", "", &doctor.Needs{TypedMetadata: []string{"a"}, ReadsTyped: []string{"b"}},
		[]string{"error metadata_options.receiving_namespaces.typed", "error metadata_options.forwarding_namespaces.typed"}},
	{"true description", described("v=1; override; untyped=a") + `, "allow_mode_override": true, "metadata_options": {"receiving_namespaces": {"untyped": ["a"]}}`, "", nil, nil},

	{"no headers for a processor", `"processing_mode": {"request_header_mode": "SKIP"}`, "", &doctor.Needs{}, []string{"error processing_mode.request_header_mode"}},
	{"no response for a processor", `"processing_mode": {"response_header_mode": "SKIP"}`, "", &doctor.Needs{ResponseHeaders: true}, []string{"error processing_mode.response_header_mode"}},
	{"no body for a processor", "", "", &doctor.Needs{RequestBody: doctor.Observe, ResponseBody: doctor.Edit},
		[]string{"error processing_mode.request_body_mode", "error processing_mode.response_body_mode"}},
	{"a prefix for a processor", `"processing_mode": {"request_body_mode": "BUFFERED_PARTIAL"}`, "", &doctor.Needs{RequestBody: doctor.Observe}, []string{"error processing_mode.request_body_mode"}},
	{"streamed, watched", `"processing_mode": {"request_body_mode": "STREAMED"}`, "", &doctor.Needs{RequestBody: doctor.Observe}, nil},
	{"streamed, rewritten", `"processing_mode": {"request_body_mode": "STREAMED"}`, "", &doctor.Needs{RequestBody: doctor.Edit}, []string{"error processing_mode.request_body_mode"}},
	{"streamed with trailers, rewritten", `"processing_mode": {"request_body_mode": "STREAMED", "request_trailer_mode": "SEND"}`, "", &doctor.Needs{RequestBody: doctor.Edit},
		[]string{"warning processing_mode.request_body_mode"}},
	{"no trailers for a processor", "", "", &doctor.Needs{RequestTrailers: true, ResponseTrailers: true},
		[]string{"error processing_mode.request_trailer_mode", "error processing_mode.response_trailer_mode"}},
	{"no replies", `"disable_immediate_response": true`, "", &doctor.Needs{Reply: true}, []string{"error disable_immediate_response"}},
	{"no routing", "", "", &doctor.Needs{Routing: true}, []string{"error mutation_rules.allow_all_routing"}},
	{"routing", `"mutation_rules": {"allow_all_routing": true}`, "", &doctor.Needs{Routing: true}, nil},
	{"namespaces and attributes", `"request_attributes": ["request.id"]`, "", &doctor.Needs{
		Metadata: []string{"a"}, Reads: []string{"b"}, RequestAttributes: []string{"request.id", "source.address"}, ResponseAttributes: []string{"response.code"},
	}, []string{"error metadata_options.receiving_namespaces.untyped", "error metadata_options.forwarding_namespaces.untyped", "error request_attributes", "error response_attributes"}},
	{"namespaces of the route", "", `{"overrides": {"metadata_options": {"receiving_namespaces": {"untyped": ["a"]}}}}`, &doctor.Needs{Metadata: []string{"a"}}, nil},
	{"switched off", "", `{"disabled": true}`, &doctor.Needs{}, []string{"error route.disabled"}},
}

func described(text string) string {
	return fmt.Sprintf(`"grpc_service": {"envoy_grpc": {"cluster_name": "p"}, "initial_metadata": [{"key": "x-gatehouse-extproc", "value": %q}]}`, text)
}

// config is the JSON of a case: what is given twice counts as given last.
func config(more string) []byte {
	base := good
	for _, key := range []string{"grpc_service", "message_timeout"} {
		if strings.Contains(more, `"`+key+`"`) && key == "message_timeout" {
			base = `"grpc_service": {"envoy_grpc": {"cluster_name": "p"}}`
		}
	}
	if strings.Contains(more, `"grpc_service"`) {
		base = `"message_timeout": "1s"`
	}
	if more != "" {
		base += ", " + more
	}
	return []byte(`{"@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor", ` + base + `}`)
}

func TestContradictionsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			findings, err := doctor.CheckJSON(config(c.filter), []byte(c.route), c.needs)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range findings {
				got = append(got, string(f.Severity)+" "+f.Field)
				if f.Message == "" || f.Remedy == "" || !strings.HasPrefix(f.String(), f.Field+": ") {
					t.Errorf("no words: %+v", f)
				}
			}
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("found\n%v\nwant\n%v", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestTheDefaultTimeoutIsTold(t *testing.T) {
	t.Parallel()
	findings, err := doctor.CheckJSON([]byte(`{"grpc_service": {}}`), nil, nil)
	if err != nil || len(findings) != 1 || findings[0].Field != "message_timeout" {
		t.Errorf("%v, %v", findings, err)
	}
}

func TestWhatIsNoConfigurationIsAnError(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "[]", `{"nonsense": 1}`} {
		if _, err := doctor.CheckJSON([]byte(text), nil, nil); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	if _, err := doctor.CheckJSON([]byte("{}"), []byte(`{"x": 1}`), nil); err == nil {
		t.Error("a route was read that is none")
	}
}

// TestTwoFiltersOfOneChain: which pairs may lose a body is in docs/conformance/extproc.md, "Two filters, one of
// them late".
func TestTwoFiltersOfOneChain(t *testing.T) {
	t.Parallel()
	const none, streamed = extprocfilterv3.ProcessingMode_NONE, extprocfilterv3.ProcessingMode_STREAMED
	const buffered, duplex = extprocfilterv3.ProcessingMode_BUFFERED, extprocfilterv3.ProcessingMode_FULL_DUPLEX_STREAMED
	type bodies = []extprocfilterv3.ProcessingMode_BodySendMode
	for _, c := range []struct {
		name string
		of   bodies // of both directions
		skip bool   // headers
		want map[int]int
	}{
		{"two that stream", bodies{duplex, duplex}, false, map[int]int{0: 1, 1: 1}},
		{"headers alone beside one that streams", bodies{streamed, none}, false, map[int]int{1: 1}},
		{"headers alone on both sides of one", bodies{none, duplex, none}, false, map[int]int{0: 1, 2: 1}},
		{"no headers", bodies{streamed, none}, true, map[int]int{}},
		{"buffered", bodies{buffered, none}, false, map[int]int{}},
		{"headers alone", bodies{none, none}, false, map[int]int{}},
		{"one after the other", bodies{streamed, duplex}, false, map[int]int{}},
	} {
		var filters []*extprocfilterv3.ExternalProcessor
		for _, body := range c.of {
			mode := &extprocfilterv3.ProcessingMode{RequestBodyMode: body, ResponseBodyMode: body}
			if c.skip {
				mode.RequestHeaderMode, mode.ResponseHeaderMode = extprocfilterv3.ProcessingMode_SKIP, extprocfilterv3.ProcessingMode_SKIP
			}
			filters = append(filters, &extprocfilterv3.ExternalProcessor{ProcessingMode: mode})
		}
		got := map[int]int{}
		for i, findings := range doctor.Chain(filters) {
			got[i] = len(findings)
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: findings %v, want %v", c.name, got, c.want)
		}
	}
}

// TestEnvoyRefusesWhatTheDoctorSaysItRefuses: the claim is Envoy's own.
func TestEnvoyRefusesWhatTheDoctorSaysItRefuses(t *testing.T) {
	t.Parallel()
	bootstrap := func(filter string) string {
		return fmt.Sprintf(`{"static_resources": {"clusters": [{"name": "p", "type": "STATIC", "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}}}], "listeners": [{"name": "l", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
"filter_chains": [{"filters": [{"name": "h", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "h", "route_config": {},
"http_filters": [{"name": "e", "typed_config": %s}, {"name": "r", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}]}}`, filter)
	}
	envoytest.Validate(t, bootstrap(string(config(""))))
	for _, more := range []string{
		`"processing_mode": {"request_body_mode": "FULL_DUPLEX_STREAMED"}`,
		`"processing_mode": {"response_body_mode": "FULL_DUPLEX_STREAMED"}`,
	} {
		if out, err := envoytest.Check(t, bootstrap(string(config(more)))); err == nil {
			t.Errorf("Envoy takes %s: %s", more, out)
		}
	}
}
