package sdk

import (
	"math"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// queueing is the latency, in seconds, of a server that does capacity things at a time, each in service
// seconds, when n are asked of it.
func queueing(n, capacity int, service float64) float64 {
	return service * math.Max(1, float64(n)/float64(capacity))
}

// TestABoundFollowsTheCapacity: however many ask, the bound settles where the queue is short, from above and
// from below, and follows a capacity that changes.
func TestABoundFollowsTheCapacity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		asked, capacity, initial int
		least, most              float64
	}{
		"from below":          {2000, 100, 4, 100, 300},
		"from above":          {2000, 100, 1500, 100, 300},
		"small":               {50, 5, 20, 5, 20},
		"more than is asked":  {30, 1000, 20, 30, 70}, // doesn't grow without need
		"not below the least": {100, 1, 20, 4, 12},
	} {
		a := Adaptive{Initial: c.initial}.withDefaults()
		l := level{bound: float64(a.Initial)}
		// Before the load the latency without a queue is known.
		l = a.next(l, seen{mean: 0.01, peak: 1})
		for range 5000 {
			served := min(c.asked, int(l.bound))
			l = a.next(l, seen{mean: queueing(served, c.capacity, 0.01), peak: served})
		}
		if l.bound < c.least || l.bound > c.most {
			t.Errorf("%s: the bound is %.1f", name, l.bound)
		}
		if name != "from below" {
			continue
		}
		for range 100 { // a part of the server fails
			served := min(c.asked, int(l.bound))
			l = a.next(l, seen{mean: queueing(served, c.capacity/5, 0.01), peak: served})
		}
		if l.bound > 80 {
			t.Errorf("with a fifth of the capacity the bound is %.1f", l.bound)
		}
	}
}

// TestALatencyThatStaysIsLearned: at the least bound, where it can't be the queue's.
func TestALatencyThatStaysIsLearned(t *testing.T) {
	t.Parallel()
	a := Adaptive{}.withDefaults()
	l := a.next(level{bound: 100}, seen{mean: 0.01, peak: 100})
	for l.bound > float64(a.Min) {
		if l = a.next(l, seen{mean: 0.05, peak: int(l.bound)}); l.usual > 0.01 {
			t.Fatalf("an overload was taken for the usual: %+v", l)
		}
	}
	for range 200 {
		l = a.next(l, seen{mean: 0.05, peak: int(l.bound)})
	}
	if l.usual < 0.025 || l.bound < 100 {
		t.Errorf("with a latency that stays: %+v", l)
	}
	if l = a.next(l, seen{mean: 0.01, peak: 1}); l.usual != 0.01 {
		t.Errorf("a shorter latency is believed at once: %+v", l)
	}
}

// TestABoundMovesOnceAWindow, of at least so many exchanges.
func TestABoundMovesOnceAWindow(t *testing.T) {
	t.Parallel()
	moves := 0
	l := newAdaptive(Adaptive{Initial: 10, Window: time.Second})
	l.moved = func(int64) { moves++ }
	at := time.Unix(1, 0)
	for range 5 { // too few
		l.observe(at, time.Millisecond, 10)
		at = at.Add(time.Second)
	}
	for range 5 {
		l.observe(at, time.Millisecond, 10)
	}
	if moves != 1 || l.bound.Load() != 10 { // by less than one
		t.Errorf("%d moves, to %d", moves, l.bound.Load())
	}
	for range 100 { // too soon
		l.observe(at, time.Millisecond, 10)
	}
	if moves != 1 {
		t.Errorf("%d moves", moves)
	}
	l.observe(at.Add(time.Second), time.Millisecond, 10)
	if moves != 2 || l.bound.Load() != 11 {
		t.Errorf("%d moves, to %d", moves, l.bound.Load())
	}
}

// TestExchangesThatNoProcessorSawMoveNoBound: else a filter that forbids what its processor needs would have the
// others' latency look like a queue.
func TestExchangesThatNoProcessorSawMoveNoBound(t *testing.T) {
	t.Parallel()
	a := admission{adaptive: newAdaptive(Adaptive{Initial: 100, Window: time.Nanosecond})}
	for range 1000 {
		a.outcome(exchange.Outcome{Err: exchange.ErrNeeds})
	}
	a.open.Store(99)
	for range 1000 {
		a.outcome(exchange.Outcome{Held: 10 * time.Millisecond})
		if bound := a.adaptive.bound.Load(); bound < 100 {
			t.Fatalf("the bound is %d", bound)
		}
	}
}
