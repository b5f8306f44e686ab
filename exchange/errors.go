package exchange

import "errors"

var (
	// ErrTooLarge indicates that a body is larger than its limit, or that only a prefix of it is there.
	// As a verdict it is a 413.
	ErrTooLarge = errors.New("body too large")
	// ErrNeeds indicates that the proxy's configuration doesn't give the processor what it asked for.
	ErrNeeds = errors.New("the filter's configuration forbids what the processor needs")
)
