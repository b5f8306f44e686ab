package doctor

import (
	"slices"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
)

// Chain returns what contradicts itself between the filters of one chain, in their order; for each finding
// the place of the filter that has it.
//
// In Envoy 1.40 a body is lost if the second of two filters sees headers alone, and answers them while the first
// has the body: it goes on with what there is, and with the end. Releases before lose it between two filters that
// stream it, too.
func Chain(filters []*extprocfilterv3.ExternalProcessor) map[int][]Finding {
	out := map[int][]Finding{}
	for _, s := range sides {
		places := make([]int, len(filters))
		for i := range filters {
			places[i] = i
		}
		if s.name == "response" { // which passes the last one first
			slices.Reverse(places)
		}
		streaming, duplexes := false, 0
		for _, i := range places {
			mode := filters[i].GetProcessingMode()
			body := s.body(mode)
			if streaming && body == extprocfilterv3.ProcessingMode_NONE && s.headers(mode) != extprocfilterv3.ProcessingMode_SKIP {
				out[i] = append(out[i], Finding{
					Severity: Warning, Field: "processing_mode." + s.name + "_header_mode",
					Message: "the " + s.name + "'s body is streamed by a filter before this one, which sees the headers alone: Envoy may lose the body (envoyproxy/envoy#41654)",
					Remedy:  "run both processors in one server (sdk.Chain), skip the headers here, or buffer the body there",
				})
			}
			if body == duplex {
				duplexes++
			}
			if body == duplex && duplexes == 2 {
				out[i] = append(out[i], Finding{
					Severity: Warning, Field: "processing_mode." + s.name + "_body_mode",
					Message: "two filters of one chain stream the " + s.name + "'s body full-duplex, and Envoy before 1.40 may truncate it (envoyproxy/envoy#41654)",
					Remedy:  "run both processors in one server (sdk.Chain), or set another mode in one of them",
				})
			}
			streaming = streaming || body == duplex || body == extprocfilterv3.ProcessingMode_STREAMED
		}
	}
	return out
}

// sides are the two directions.
var sides = []struct {
	name    string
	body    func(*extprocfilterv3.ProcessingMode) extprocfilterv3.ProcessingMode_BodySendMode
	headers func(*extprocfilterv3.ProcessingMode) extprocfilterv3.ProcessingMode_HeaderSendMode
}{
	{"request", (*extprocfilterv3.ProcessingMode).GetRequestBodyMode, (*extprocfilterv3.ProcessingMode).GetRequestHeaderMode},
	{"response", (*extprocfilterv3.ProcessingMode).GetResponseBodyMode, (*extprocfilterv3.ProcessingMode).GetResponseHeaderMode},
}
