package doctor

import "github.com/gatehouse-proxy/gatehouse/exchange"

// Use is what a processor does with a body.
type Use = exchange.BodyUse

// The uses.
const (
	// Untouched leaves the body alone.
	Untouched = exchange.BodyUntouched
	// Observe watches it pass.
	Observe = exchange.BodyObserved
	// Edit holds, reads or rewrites it.
	Edit = exchange.BodyEdited
)

// Needs is what a processor asks of its filter, as it declares it ([exchange.NeedsProcessor]).
type Needs = exchange.Needs
