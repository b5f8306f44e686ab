package geo

import (
	"cmp"
	"slices"
	"time"
)

// State is what is known of one file, for statuses and metrics.
type State struct {
	Path string
	// Type is the metadata's database_type, "" before the first good contents.
	Type string
	// Built is when the publisher made the contents, zero before the first good ones.
	Built time.Time
	// LastSuccess is when the file was last found good; zero if it never was.
	LastSuccess time.Time
	LastAttempt time.Time
	// LastError is why the file as it is now can't be read, "" if it can.
	LastError string
	// Next is when the file is looked at again.
	Next time.Time
	// Looks and Failures count since the file is in use.
	Looks, Failures uint64
	// Uses are those of policies, sorted by policy and kind.
	Uses []Use
}

// Use is one policy's use of a file.
type Use struct {
	Policy string
	Kind   Kind
	// InForce is false while the policy denies for want of contents of that kind.
	InForce bool
	// Fault is why the newest contents aren't of that kind; the last good ones go on. "" if they are.
	Fault string
}

func (s *source) state() State {
	r := s.Record()
	state := State{
		Path: s.path, LastSuccess: r.LastSuccess, LastAttempt: r.LastAttempt, LastError: r.LastError, Next: r.Next,
		Looks: r.Fetches, Failures: r.Failures,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		state.Type, state.Built = s.last.reader.Metadata.DatabaseType, s.last.reader.Metadata.BuildTime()
	}
	for _, u := range s.uses.All() {
		used := Use{Policy: u.policy, Kind: u.kind, InForce: u.good.Load() != nil}
		if u.fault != nil {
			used.Fault = u.fault.Error()
		}
		state.Uses = append(state.Uses, used)
	}
	slices.SortFunc(state.Uses, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Kind, b.Kind))
	})
	return state
}
