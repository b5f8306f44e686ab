package bundle

import (
	"cmp"
	"slices"
	"time"
)

// State is what is known of one bundle, for statuses and metrics. It holds no secret.
type State struct {
	// URL is without its query, which may be a credential.
	URL string
	// Revision is the publisher's, "" before the first good fetch or if it has none.
	Revision string
	// LastSuccess is zero before the first good fetch.
	LastSuccess time.Time
	LastAttempt time.Time
	// LastError is the last fetch's failure, "" after a success.
	LastError string
	// Next is when the next fetch is due.
	Next time.Time
	// Fetches and Failures count since the start of the process.
	Fetches, Failures uint64
	// Uses are the policies, sorted by name.
	Uses []Use
}

// Use is a policy's view of a bundle.
type Use struct {
	Policy string
	// InForce is false while the policy denies for want of a generation that compiles.
	InForce bool
	// Fault is why the policy can't use the newest contents, which don't fit its own modules or another
	// bundle. What was in force before goes on. "" if it uses them.
	Fault string
}

func (s *source) state() State {
	r := s.Record()
	state := State{
		URL: s.name, LastSuccess: r.LastSuccess, LastAttempt: r.LastAttempt, LastError: r.LastError, Next: r.Next,
		Fetches: r.Fetches, Failures: r.Failures,
	}
	if got := s.good.Load(); got != nil {
		state.Revision = got.revision
	}
	for _, use := range s.uses.All() {
		state.Uses = append(state.Uses, use.state())
	}
	slices.SortFunc(state.Uses, func(a, b Use) int { return cmp.Compare(a.Policy, b.Policy) })
	return state
}
