package poll

import (
	"math/rand/v2"
	"time"
)

// Backoff is the pause after failed fetches, from First doubled each time up to Last.
type Backoff struct{ First, Last time.Duration }

// Pause returns the pause before the next attempt, failures of them having failed before the last one. Its
// jitter of a quarter keeps many gateways from coming back at once.
func (b Backoff) Pause(failures int) time.Duration {
	pause := b.First
	for range failures {
		if pause >= b.Last {
			break
		}
		pause *= 2
	}
	pause = min(pause, b.Last)
	return pause + rand.N(pause/4+1) //nolint:gosec // jitter is no secret
}

// Early returns an interval shortened by up to a fifth: never later than asked for, and not all at once.
func Early(interval time.Duration) time.Duration {
	return interval - rand.N(interval/5+1) //nolint:gosec // jitter is no secret
}
