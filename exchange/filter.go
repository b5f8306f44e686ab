package exchange

import "time"

// A Want says what of the response a processor will touch beyond its headers. The proxy must be told
// before the request leaves.
type Want uint8

const (
	// ObserveBody allows Response.Body.Observe.
	ObserveBody Want = 1 << iota
	// EditBody allows all of Response.Body. Envoy then takes the response's content-length away, even if the body
	// stays as it is, unless the filter has allow_content_length_header.
	EditBody
	// Trailers fills Response.Trailer, before Finish returns.
	Trailers
)

// BodyMode is how a proxy passes a body to its processor: ProcessingMode.BodySendMode of
// envoy.extensions.filters.http.ext_proc.v3.
type BodyMode uint8

// The modes, with Envoy's numbers.
const (
	BodyNone BodyMode = iota
	BodyStreamed
	BodyBuffered
	BodyBufferedPartial
	BodyFullDuplex
	BodyGRPC
)

// String returns Envoy's name of the mode.
func (m BodyMode) String() string {
	names := [...]string{"NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED", "GRPC"}
	if int(m) < len(names) {
		return names[m]
	}
	return "UNKNOWN"
}

// FilterInfo is what is known of the proxy's configuration. Zero values are the safe assumption.
type FilterInfo struct {
	// Described says that the filter described itself or an option describes it; without it only the body
	// modes are known.
	Described bool
	// Override says that the filter has allow_mode_override, without a list of allowed modes.
	Override bool
	// Timeout is its message_timeout, MaxTimeout its max_message_timeout.
	Timeout, MaxTimeout time.Duration
	// KeepAlive says that a host may ask for MaxTimeout by itself, once for each message, when a processor is
	// about to exceed Timeout (extproc.WithKeepAlive). Without it Timeout is what it says.
	KeepAlive bool
	// Untyped are the namespaces that SetMetadata may write to.
	Untyped []string
	// Typed are the namespaces that typed metadata (extproc.SetTypedMetadata) may be written to.
	Typed []string
	// MutateAll says that its mutation_rules allow edits of every header. Without it Envoy ignores those of
	// host (:authority) and x-envoy-*, so that they are an [ErrNeeds] when the message is released.
	MutateAll bool
	// Trailers says that both trailer modes are SEND whatever the body modes are.
	Trailers bool
	// Request and Response are the body modes that the route's configuration gives. Envoy tells them but in
	// observability mode.
	Request, Response BodyMode
}
