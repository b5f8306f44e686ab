package rego

import "errors"

// What [Policy.Decide] can return. All of them deny; none holds anything of the request.
var (
	// ErrUndefined indicates that no rule decided: 403.
	ErrUndefined = errors.New("the decision is undefined")
	// ErrTimeout indicates that the evaluation took too long: 503.
	ErrTimeout = errors.New("the evaluation took too long")
	// ErrFault indicates an evaluation error, or a decision of the wrong shape: 503.
	ErrFault = errors.New("the evaluation failed")
	// ErrBodyTooLarge indicates a body above the policy's limit, or only part of one: 413.
	ErrBodyTooLarge = errors.New("the body is larger than the policy's limit")
	// ErrBodyMissing indicates that the proxy doesn't send the body that the policy reads: 503.
	ErrBodyMissing = errors.New("the proxy sends no body")
	// ErrAmbiguous indicates a request that two readers may understand in two ways, in a part that the
	// policy reads: 403.
	ErrAmbiguous = errors.New("the request is ambiguous")
)
