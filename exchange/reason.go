package exchange

// The [Verdict.Reason] of verdicts that an engine made itself, in place of an Authorizer.
const (
	// ReasonMalformed: the request is malformed or ambiguous.
	ReasonMalformed = "malformed_request"
	// ReasonNoAuthorizer: none was chosen for the request.
	ReasonNoAuthorizer = "no_authorizer"
	// ReasonError: the authorizer returned an error that is no Reply.
	ReasonError = "authorizer_error"
	// ReasonPanic: the authorizer panicked.
	ReasonPanic = "authorizer_panic"
	// ReasonLate: the authorizer allowed when nobody waited any more, past Envoy's timeout or after the client
	// had gone; it may have decided so because it was interrupted.
	ReasonLate = "late_verdict"
	// ReasonUnsendable: the verdict holds what no answer can say.
	ReasonUnsendable = "unsendable_verdict"
)
