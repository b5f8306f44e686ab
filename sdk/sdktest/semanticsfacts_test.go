package sdktest_test

// semanticsFacts are about what processors do in each mode, and what Envoy makes of each form of answer.
func semanticsFacts() []chapter {
	return []chapter{{"What processors do, in each mode", []fact{
		{"early return", []string{"What processors do: early return", "extproc.TestManyEarlyReturnsLoseNothing"}},
		{"nothing, in Next and Finish", []string{"What processors do: Next", "What processors do: Finish"}},
		{"read or hold a body", []string{"What processors do: Bytes", "What processors do: Read of a part"}},
		{"observe", []string{"What processors do: Observe"}},
		{"transform", []string{"What processors do: Transform"}},
		{"replace", []string{"What processors do: Set"}},
		{"deny and reply, before and after the response has begun", []string{"What processors do: Deny", "What processors do: Reply", "What processors do: Bytes of the response, then Deny"}},
		{"reply in parts", []string{"What processors do: ReplyStream", "What processors do: Bytes, then ReplyStream", "extproc.TestRepliesAreStreamed"}},
		{"functions that return early", []string{"What processors do: Transform that returns early", "What processors do: Observe that returns early"}},
		{"errors and panics", []string{"What processors do: error", "What processors do: panic", "What processors do: Transform that fails", "What processors do: Observe that panics"}},
		{"a client that goes", []string{"Traps: ClientGone"}},
		{"upgrades and CONNECT", []string{"Upgrades"}},
		{"content-length of what may be changed", []string{"What processors do: Transform of both", "Traps: ContentLengthAfterOverride"}},
	}}, {"Forms of answers", []fact{
		{"to parts of a body: empty, same length, another length, cleared, streamed_response, no member, headers", []string{"Answers to a request body", "Answers to a response body"}},
		{"to headers: CONTINUE_AND_REPLACE with and without a body", []string{"Answers to request headers", "Answers to response headers"}},
		{"the end of a body: with the last chunk, apart, by trailers", []string{"Nothing is changed: STREAMED, end apart", "Traps: BufferedBodyWithoutEOS", "Traps: EmptyChunks"}},
		{"bodies that are none, of HEAD, 204 and 304, and informational responses", []string{"Nothing is changed: BUFFERED, no body", "Nothing is changed: BUFFERED, empty", "Traps: Head", "Traps: NoContent", "Traps: NotModified", "Traps: InterimResponse"}},
		{"BUFFERED over the limit", []string{"Traps: BufferedOverLimit", "Traps: BufferedByOverrideOverLimitHangs", "Over HTTP/1: BufferedByOverrideOverLimitHangs"}},
		{"HTTP/1: the end is a message of its own; 100-continue is Envoy's; a denial doesn't wait for the upload", []string{"Over HTTP/1: STREAMED, sized", "Over HTTP/1: STREAMED, chunks", "Over HTTP/1: Expect: 100-continue", "Over HTTP/1: EarlyDenyOfALargeUpload", "Over HTTP/1: EndOfItsOwnFDS", "sdk/sdktest.TestEndOfItsOwnMeetsTheReply"}},
		{"64 MiB up and down", []string{"Large bodies: 64 MiB up and down", "Large bodies: 32 MiB up and down, BUFFERED"}},
	}}, {"Overrides", []fact{
		{"from each mode to each, with the request's headers and the response's", []string{"Overrides"}},
		{"alone: from NONE and STREAMED to full duplex, no timer, headers stay editable, denials stay legal", []string{"Overrides by themselves"}},
		{"content-length stays after an override", []string{"Traps: ContentLengthAfterOverride", "Over HTTP/1: ContentLengthAfterOverride", "Traps: HeadContentLengthKeptByOverride"}},
		{"what isn't allowed is ignored without a word", []string{"Rules of overrides", "Traps: OverrideIgnoredBodyAnswerSpurious"}},
		{"absent headers' modes are the filter's and not the route's, absent body modes are NONE", []string{"Rules of overrides: absent header modes", "Rules of overrides: an absent body mode is NONE"}},
	}}, {"Replies and failures", []fact{
		{"an immediate response in each phase of each mode", []string{"Immediate responses"}},
		{"codes, bodies, headers, content types, gRPC callers", []string{"Replies"}},
		{"a streamed reply that isn't ended hangs unless the stream fails", []string{"Traps: StreamedReplyOKCloseHangs", "Traps: StreamedReplyErrorCloseEnds", "Traps: StreamedReplyWithoutEndHangs"}},
		{"an OK close is consent; a gRPC error, a timeout, a server that dies or isn't there fail, by the filter's failure mode", []string{"Failures"}},
		{"full duplex with a body never fails open", []string{"Traps: FailOpenFDSWithBody", "Traps: FailOpenFDSWithoutBody"}},
	}}, {"Early return", []fact{
		{"the bytes are whole in each mode, full duplex included; a mere close loses chunks there", []string{"What processors do: early return", "Traps: EarlyReturnFDS", "Traps: OKCloseFDSDropsChunks", "Failures: OK close at request_headers"}},
	}}, {"Both directions at once", []fact{
		{"a response may come before the request has ended; buffered modes hold both up", []string{"Traps: ResponseHeadersBeforeRequestEndFDS", "Traps: BidiDeadlockBuffered", "Calls: gRPC, a question with each answer", "Calls: BidiDeadlockBuffered", "extproc.TestInterleavedDirectionsFlow"}},
		{"response headers that wait: a timeout but for full duplex", []string{"Traps: StashedResponseHeadersTimeOut", "Traps: StashedResponseHeadersInFDS"}},
		{"a response's body that is answered before its headers fails", []string{"Traps: ResponseBodyBeforeHeaderAnswer"}},
		{"functions that fail end the exchange", []string{"Traps: PanicOfAFunction", "extproc.TestFunctionsThatFailAreVerdicts"}},
		{"a processor that blocks", []string{"What processors do: block", "extproc.TestAProcessorSlowerThanTheExtensionGetsItsVerdict"}},
		{"all orders of messages", []string{"extproc.TestAnswersAreLegalInEveryOrder", "extproc.TestNoByteIsLost"}},
		{"a sender waits for a slow receiver (#39514)", []string{"Large bodies: a stalled processor holds back 64 MiB", "sdk/body.TestASlowUpstreamSlowsTheSender"}},
	}}}
}
