package sdktest

import (
	"time"

	extprocfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// BodyMode is how a body is sent to the processor: ProcessingMode.BodySendMode.
type BodyMode = exchange.BodyMode

// The body modes.
const (
	// None doesn't send the body.
	None = exchange.BodyNone
	// Streamed sends each chunk and waits for its answer.
	Streamed = exchange.BodyStreamed
	// Buffered sends the whole body in one message; one over the limit is refused.
	Buffered = exchange.BodyBuffered
	// BufferedPartial sends as much as fits the buffer.
	BufferedPartial = exchange.BodyBufferedPartial
	// FullDuplex (FULL_DUPLEX_STREAMED) sends each chunk and takes whatever chunks come back.
	FullDuplex = exchange.BodyFullDuplex
	// GRPC is accepted by Envoy and doesn't work there: request bodies pass the processor by.
	GRPC = exchange.BodyGRPC
)

// Send is whether headers or trailers are sent to the processor: ProcessingMode.HeaderSendMode.
type Send uint8

// The values, with Envoy's numbers.
const (
	// Default is On for headers and Off for trailers.
	Default Send = iota
	// On sends them (SEND).
	On
	// Off doesn't (SKIP).
	Off
)

// Mode is a ProcessingMode. The zero Mode sends headers alone, as Envoy's does.
type Mode struct {
	RequestHeaders, ResponseHeaders   Send
	RequestBody, ResponseBody         BodyMode
	RequestTrailers, ResponseTrailers Send
}

// Bodies is the Mode that sends both directions' bodies in mode m, and trailers.
func Bodies(m BodyMode) Mode {
	return Mode{RequestBody: m, ResponseBody: m, RequestTrailers: On, ResponseTrailers: On}
}

// Filter is the configuration of an ext_proc filter: what of
// envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor has a bearing on a processor. The zero Filter
// sends headers and allows nothing beyond.
type Filter struct {
	Mode Mode
	// Route is the route's configuration of the filter, VirtualHost its virtual host's, nil for none.
	Route, VirtualHost *Override
	// Again is the configuration of the other route: the one for requests with x-reroute: yes (see
	// [Result.Rerouted]).
	Again *Override
	// AllowModeOverride honours mode_override, if it is one of AllowedOverrideModes or those are none.
	AllowModeOverride    bool
	AllowedOverrideModes []Mode
	// NoWait is send_body_without_waiting_for_header_response.
	NoWait bool
	// MessageTimeout is message_timeout. Zero is [DefaultTimeout], and not Envoy's 200 ms, which a loaded
	// machine exceeds.
	MessageTimeout time.Duration
	// MaxMessageTimeout is what override_message_timeout may ask for; zero is nothing.
	MaxMessageTimeout time.Duration
	// FailureModeAllow lets requests pass when the processor fails.
	FailureModeAllow bool
	// StatusOnError is the status when it fails and they don't pass; zero is 500.
	StatusOnError int
	// DisableImmediateResponse makes an immediate_response a spurious message.
	DisableImmediateResponse bool
	// Observability is observability_mode: answers are ignored. DeferredClose is how long its stream outlives
	// the exchange; zero is one second.
	Observability bool
	DeferredClose time.Duration
	// Mutations are the mutation_rules.
	Mutations Rules
	// AllowContentLength is allow_content_length_header: with it a message whose body goes to the processor,
	// and comes back as it was, keeps its content-length; without it Envoy removes that.
	AllowContentLength bool
	// RouteCache is route_cache_action: "DEFAULT" (or nothing), "CLEAR" or "RETAIN".
	RouteCache string
	// MetadataOptions are the metadata_options.
	MetadataOptions
	// Metadata is the dynamic metadata that filters before this one have written, by namespace, TypedMetadata
	// the typed one. The upstream's cluster has metadata of its own, see [ClusterMetadata].
	Metadata      map[string]*structpb.Struct
	TypedMetadata map[string]proto.Message
	// Connection is the client's connection; nil has no addresses.
	Connection *Connection
	// Inner is a second ext_proc filter behind this one, nil for none.
	Inner *Inner
	// Outside is a codec between the client and this filter, Inside one between it and what is behind it.
	Outside, Inside Codec
	// RequestAttributes and ResponseAttributes are the names of attributes to send. In the emulator, those that
	// vary from one exchange to the next (the time, identifiers, sizes on the wire) have no meaning.
	RequestAttributes, ResponseAttributes []string
	// MappedRequestAttributes, if not nil, is sent in place of RequestAttributes: the attributes by names of one's
	// own (processing_request_modifier's mapped_attribute_builder).
	MappedRequestAttributes map[string]string
	// AllowedHeaders and DisallowedHeaders are the exact names of forward_rules.
	AllowedHeaders, DisallowedHeaders []string
	// InitialMetadata is sent with each stream, beside the description of the filter that Gatehouse's
	// gateways send, unless Undescribed is set.
	InitialMetadata map[string]string
	Undescribed     bool
	// Unreachable is a processor at whose address nobody listens.
	Unreachable bool
	// Cold is how long the processor's server takes until it accepts its first connection.
	Cold time.Duration
	// Dies, if not zero, has the processor's server end with its connections once that many messages have come.
	Dies int
	// ReceiveLimit is the largest message, in bytes, that the processor's server receives; zero is 64 MiB.
	ReceiveLimit int
	// Retries is how many times the route tries again what the upstream resets or answers with 5xx.
	Retries int
	// HTTP1 has client and upstream speak HTTP/1.1 in place of HTTP/2.
	HTTP1 bool
	// BufferLimit is per_connection_buffer_limit_bytes, in bytes; zero is Envoy's 1 MiB, and less than 65535
	// doesn't exist over HTTP/2.
	BufferLimit int
}

// Rules are HeaderMutationRules.
type Rules struct {
	// AllowAllRouting allows changes of host, :authority, :scheme and :method, AllowEnvoy of x-envoy-*.
	AllowAllRouting, AllowEnvoy bool
	// DisallowSystem forbids changes of pseudo-headers, DisallowAll of everything.
	DisallowSystem, DisallowAll bool
	// AllowExpression and DisallowExpression are regular expressions (RE2) over whole names.
	AllowExpression, DisallowExpression string
	// DisallowIsError makes a forbidden change an error instead of nothing.
	DisallowIsError bool
}

// DefaultTimeout is a Filter's message timeout without MessageTimeout.
const DefaultTimeout = 20 * time.Second

// Recommended is the configuration that serves every processor: no bodies until one asks for them.
func Recommended() Filter {
	return Filter{AllowModeOverride: true, MessageTimeout: DefaultTimeout, MaxMessageTimeout: time.Minute}
}

func (m Mode) proto() *extprocfilterv3.ProcessingMode {
	send := func(s Send) extprocfilterv3.ProcessingMode_HeaderSendMode {
		return extprocfilterv3.ProcessingMode_HeaderSendMode(s)
	}
	body := func(b BodyMode) extprocfilterv3.ProcessingMode_BodySendMode {
		return extprocfilterv3.ProcessingMode_BodySendMode(b)
	}
	return &extprocfilterv3.ProcessingMode{
		RequestHeaderMode: send(m.RequestHeaders), ResponseHeaderMode: send(m.ResponseHeaders),
		RequestBodyMode: body(m.RequestBody), ResponseBodyMode: body(m.ResponseBody),
		RequestTrailerMode: send(m.RequestTrailers), ResponseTrailerMode: send(m.ResponseTrailers),
	}
}
