package rego

import "time"

// deadline stops an evaluation by reading the clock whenever OPA asks, which is between expressions
// and inside a few builtins. To read it more seldom lets one expression after the other run on: 26
// doublings of a string ran 15 s past a deadline of 20 ms that way.
type deadline struct {
	at     time.Time
	passed bool
}

// Cancel is part of topdown.Cancel.
func (d *deadline) Cancel() { d.passed = true }

// Cancelled is part of topdown.Cancel. An evaluation is one goroutine.
func (d *deadline) Cancelled() bool {
	if !d.passed && time.Now().After(d.at) {
		d.passed = true
	}
	return d.passed
}
