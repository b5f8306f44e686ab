package sdktest_test

// protocolFacts are about the messages and the filter's configuration.
func protocolFacts() []chapter {
	return []chapter{{"The protocol", []fact{
		{"one stream for each exchange and filter; the filter closes it when no phase is left", []string{"Rules of overrides: SKIP of all that is left closes the stream", "Nothing is changed: NONE, no body", "Two filters: NONE, then NONE"}},
		{"headers, body and trailers of either direction; each message has one answer, but for full duplex", []string{"Nothing is changed", "Answers to a request body", "Answers to a response body", "What nothing asked for: the answer twice"}},
		{"headers are sent unless they are switched off, trailers only if they are switched on", []string{"Nothing is changed: STREAMED, trailers, at once, trailers SKIP", "Traps: ContentLengthWithoutHeaders", "Traps: BodyFirst"}},
		{"the body modes, and GRPC, which Envoy takes and in which request bodies pass the processor by", []string{"Nothing is changed", "Traps: GrpcModeBypass"}},
		{"full duplex by configuration needs trailers sent, by override it doesn't", []string{"extproc/doctor.TestEnvoyRefusesWhatTheDoctorSaysItRefuses", "Overrides: NONE to FULL_DUPLEX_STREAMED", "Overrides by themselves: NONE to FULL_DUPLEX_STREAMED"}},
		{"full duplex takes streamed_response alone, has no message timer, and wants the end from the processor", []string{"Answers to a request body: FULL_DUPLEX_STREAMED", "Failures: no answer to request_body, FULL_DUPLEX_STREAMED", "Traps: EOSBeforeTrailersFDS", "Traps: LargeAnswerFDS"}},
		{"protocol_config comes with the first message, says what the route has, and is absent when observing", []string{"Traps: RouteMode", "Traps: LocalReplyFirst", "Traps: ProtocolConfigAbsentObservability", "Routes: the route has a mode"}},
		{"mode_override counts in answers to headers, and alone before the request's headers are answered", []string{"Overrides", "Overrides by themselves", "Rules of overrides: in the answer to a request_body: void"}},
		{"an override must be allowed, and listed to the letter if there is a list", []string{"Rules of overrides: not allowed: ignored without a word", "Rules of overrides: not among allowed_override_modes", "Rules of overrides: among allowed_override_modes", "Rules of overrides: allowed_override_modes with DEFAULT"}},
		{"override_message_timeout: once, no more than the maximum, and nothing else in the message counts", []string{"Traps: TimeoutExtended", "Traps: TimeoutExtendedTwice", "Traps: TimeoutExtendedOverMax", "Traps: TimeoutExtendedWithoutMax", "Traps: TimeoutExtensionVoidsTheRest"}},
		{"an immediate response's status, headers, body, gRPC status and details; no status is 200", []string{"Replies", "Immediate responses"}},
		{"a streamed reply: before the request's headers are answered, and with a body only beside NONE and full duplex", []string{"Streamed replies", "Traps: StreamedReplyAfterAHeldBody", "Traps: StreamedReplyOKCloseHangs", "Two filters, one of which answers: the inner replies in parts"}},
		{"observing: answers are ignored, of bodies only streamed ones come, the stream outlives the exchange", []string{"Traps: ObservabilityAnswersIgnored", "Traps: ObservabilityHasNoSuchBodies", "extproc.TestObservabilityModeShowsBodies"}},
		{"dynamic_metadata and typed_dynamic_metadata are kept in namespaces that are listed", []string{"Metadata: given with", "Traps: MetadataToNoNamespace"}},
		{"metadata_context: listed namespaces, untyped and typed, and the cluster's, of which the exchange's own come first", []string{"Metadata: forwarded"}},
		{"attributes come once for each direction, with its first message; those that don't exist are left out", []string{"Attributes", "Traps: AttributesOncePerDirection"}},
		{"CONTINUE_AND_REPLACE; clear_route_cache, which needs a header mutation", []string{"Answers to request headers", "Answers to response headers", "Traps: RerouteWithoutAMutation"}},
		{"of a header's action only append is read; raw_value, not value", []string{"Header mutations: append_action", "Header mutations: value in place of raw_value", "Header mutations: value and raw_value", "Traps: AppendActionIgnored"}},
		{"what headers may be changed, and how rules change that", []string{"Header mutations"}},
		{"route_cache_action", []string{"Traps: RouteCacheActionClear", "Traps: RouteCacheActionRetain", "Traps: RerouteInTheSameAnswer"}},
		{"content-length goes where the mode can't keep it right, unless allow_content_length_header is set", []string{"Nothing is changed: STREAMED, sized", "Traps: AllowContentLengthHeader", "Traps: HeadContentLengthStripped"}},
		{"failure_mode_allow, also by route; status_on_error; a timeout is 504; what nothing asked for fails", []string{"Failures", "Routes: the route has failure_mode_allow", "Routes: the route has no failure_mode_allow", "What nothing asked for"}},
		{"processing_request_modifier: attributes by names of one's own, also by route", []string{"Attributes: mapped"}},
		{"by route: off, mode, service, initial metadata, metadata options, failure mode; by virtual host the same", []string{"Routes", "Metadata: forwarded by the route"}},
		{"windows and drains of the new flow control: an error alone, tolerated beside an answer", []string{"What nothing asked for: a window update alone", "What nothing asked for: request_drain alone", "What nothing asked for: a new field beside the answer"}},
		{"which headers are forwarded", []string{"Traps: AllowedHeaders", "Traps: DisallowedHeaders"}},
		{"trace context comes in initial metadata", []string{"sdk.TestSpansThroughEnvoy"}},
		{"the decoder of messages", []string{"extproc.TestDecodeAgreesWithGeneratedCode"}},
	}}, {"On the wire", []fact{
		{"header bytes and duplicates are kept, values come raw", []string{"Header mutations: a byte beyond ASCII", "Header mutations: append"}},
		{"attributes have one key and literal names, numbers as numbers", []string{"Attributes: mutual TLS", "Attributes: no addresses"}},
		{"metadata_context is in every message", []string{"Metadata: forwarded: all", "Traps: Metadata"}},
		{"a message with no member is fatal", []string{"What nothing asked for: a message with nothing in it", "Traps: EmptyMessageIsFatal"}},
		{"a stream may begin with the response", []string{"Traps: LocalReplyFirst", "Two filters, one of which answers: the outer denies a request", "Attributes: no addresses, with the response alone"}},
	}}}
}
