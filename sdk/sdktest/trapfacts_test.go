package sdktest_test

// trapFacts are ways in which processors have come to grief, with Envoy's issues about them.
func trapFacts() []chapter {
	return []chapter{{"Traps: bodies", []fact{
		{"a buffered body of another length needs its content-length (#29536, #28515)", []string{"Answers to a request body: BUFFERED, body of another length", "extproc.TestTraps"}},
		{"content-length is stripped where nothing was changed, and can't be put back (#38291, #39035)", []string{"Traps: ContentLengthReadded", "Traps: AllowContentLengthHeader"}},
		{"an override to STREAMED leaves the upstream's content-length", []string{"Traps: ContentLengthAfterOverride"}},
		{"connection headers sent back as changes", []string{"Traps: EchoedConnectionHeaders", "Over HTTP/1: EchoedConnectionHeaders", "Header mutations: of a response: connection headers"}},
		{"an empty body isn't no change", []string{"Answers to a request body: BUFFERED, an empty body", "Answers to a request body: BUFFERED, clear_body", "Traps: ClearBodyFalse", "What processors do: Set to nothing"}},
		{"messages over the server's limit", []string{"Traps: MessageOverReceiveLimit", "sdk.TestBodiesAboveTheDefaultOfGRPC"}},
		{"large answers in full duplex", []string{"Traps: LargeAnswerFDS", "Traps: LargeBody, FULL_DUPLEX_STREAMED"}},
		{"bodies over the buffer limit (#39365, #39345)", []string{"Traps: BufferedOverLimit"}},
		{"no body, and an empty one, in BUFFERED (#17430, #28672)", []string{"Nothing is changed: BUFFERED, no body", "Nothing is changed: BUFFERED, empty"}},
		{"a decompressor behind the filter: the end never comes to it (#21205)", []string{"Codecs: decompressor behind: the response comes decompressed"}},
		{"a decompressed body has no content-encoding; compression goes over chunks", []string{"Codecs: decompressor", "sdk/body.TestResponsesAreDecoded", "sdk/body.TestRequestsAreDecoded", "extproc.TestACompressedResponseWithTrailersIsWhole"}},
	}}, {"Traps: order and ends", []fact{
		{"two ends of a body in full duplex (#46237)", []string{"Traps: EndTwiceFDS"}},
		{"an end in an empty chunk after an override (#46355)", []string{"Traps: EmptyEndAfterOverrideToFDS", "Overrides: BUFFERED to FULL_DUPLEX_STREAMED"}},
		{"an override from NONE to full duplex keeps the first chunk (#40340)", []string{"Traps: FDSOverrideFromNoneKeepsTheFirstChunk"}},
		{"a response before the request's end (#46836, #45617)", []string{"Traps: ResponseHeadersBeforeRequestEndFDS"}},
		{"trailers that the server made up (#40046)", []string{"Traps: SynthesizedTrailersFDS"}},
		{"bodies that don't wait for the headers' answer (#35612, #35850)", []string{"Nothing is changed: STREAMED no-wait", "Rules of overrides: with send_body_without_waiting_for_header_response", "Traps: ResponseBodyBeforeHeaderAnswer, no-wait"}},
		{"headers in a body's answer", []string{"Answers to a request body: STREAMED, headers", "Answers to a request body: BUFFERED, headers", "Traps: HeaderMutationInStreamedBodyAnswer"}},
		{"two filters in one chain lose a body (#41654, #43983, #47449)", []string{"Two filters, one of them late", "Two filters: FULL_DUPLEX_STREAMED, then FULL_DUPLEX_STREAMED", "extproc/doctor.TestTwoFiltersOfOneChain"}},
		{"a large body with trailers (#27133)", []string{"Traps: LargeBodyWithTrailers"}},
		{"retries send a body again (#36119, #45470)", []string{"Retries"}},
	}}, {"Traps: modes and timeouts", []fact{
		{"absent members of an override (#38254)", []string{"Rules of overrides: absent header modes stay", "Rules of overrides: an absent body mode is NONE"}},
		{"an override that isn't allowed, and the answer to the body that never came (#29441)", []string{"Traps: OverrideIgnoredBodyAnswerSpurious", "Rules of overrides: in the answer to a response_body: void"}},
		{"phases that nobody asked for get a neutral answer (#18689)", []string{"extproc.TestAnswersAreLegalInEveryOrder"}},
		{"the message timeout (its default is 200 ms)", []string{"Failures: no answer to request_headers", "extproc/doctor.TestTheDefaultTimeoutIsTold"}},
		{"connecting takes of the first message's time (#41090)", []string{"Connecting"}},
		{"the timer is each message's; none in full duplex", []string{"Traps: TimerPerMessage", "Failures: no answer to request_trailers, FULL_DUPLEX_STREAMED"}},
		{"the timeout's extension is a message of its own (#27260)", []string{"Traps: TimeoutExtensionVoidsTheRest", "Traps: TimeoutExtendedByNothing"}},
		{"observing (#34948)", []string{"Traps: ObservabilityAnswersIgnored", "extproc.TestObservabilityModeChangesNothing"}},
	}}, {"Traps: replies and failures", []fact{
		{"a response without a request (#29440, #38261, #38022)", []string{"Traps: LocalReplyFirst", "Two filters, one of which answers: the outer denies a request", "extproc.TestLocalRepliesComeToThoseWhoAsk"}},
		{"responses that the upstream's failure makes (#41769)", []string{"Traps: UpstreamResets"}},
		{"an immediate answer of a filter behind the router (#41231)", []string{"sdk.TestRepliesFromTheUpstreamsChainArrive"}},
		{"an immediate response in a body's phase, and after the headers (#38520)", []string{"Immediate responses: request_body", "Immediate responses: response_body"}},
		{"an immediate response's headers in BUFFERED_PARTIAL (#23652)", []string{"Immediate responses: response_body, BUFFERED_PARTIAL"}},
		{"gRPC callers need their status (#39795)", []string{"Replies: to gRPC", "extproc.TestGRPCCallersGetTheReplysStatus"}},
		{"failing open in full duplex (#41276)", []string{"Traps: FailOpenFDSWithBody"}},
		{"statuses of failures, failure mode by route (#34856, #39217, #41273, #40014)", []string{"Failures: status_on_error", "Routes: the route has failure_mode_allow, and the processor fails"}},
		{"HEAD, 204, 304, informational responses", []string{"Traps: Head", "Traps: NoContent", "Traps: NotModified", "Traps: InterimResponse"}},
		{"a close that isn't an error (#47458, #22727, #37083)", []string{"Traps: ClientGone", "Traps: ResponseAborted", "extproc.TestOutcomeIsReportedOnce"}},
		{"upgrades (#47081, #47161, #47048)", []string{"Upgrades"}},
	}}, {"Traps: headers and routes", []fact{
		{"host, :authority, :method, :scheme and x-envoy-* without rules (#29573, #40452)", []string{"Header mutations: host, no rules", "Header mutations: :authority, no rules", "Header mutations: x-envoy-*, no rules", "extproc.TestEditsThatEnvoyWouldIgnoreFail"}},
		{"another route needs clear_route_cache in the same answer (#17470, #16098, #23937, #43708)", []string{"Traps: RerouteInTheSameAnswer", "Traps: RerouteWithoutClearing", "Traps: RerouteInABodyAnswer"}},
		{"the new route's configuration isn't this filter's, but is that of those behind it (#44739)", []string{"Routes: the route chosen again has", "Routes: the route chosen again, before an inner filter, has"}},
		{"cookies are appended one by one (#29861)", []string{"Header mutations: of a response: set-cookie twice"}},
		{"attributes when only the response runs (#41744, #43981), with the first message only (#32125)", []string{"Attributes: no addresses, with the response alone", "Traps: AttributesOncePerDirection"}},
		{"off for a virtual host, on for its route (#22925)", []string{"Routes: the virtual host has disabled"}},
	}}}
}
