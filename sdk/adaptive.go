package sdk

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Adaptive is a bound on what is served at a time that follows the extension's own latency: nobody has to know
// beforehand how much a server, or what it depends on, can take. The zero Adaptive has the defaults.
//
// The bound is moved at the end of each window. While the mean latency stays within Tolerance times what it is
// without a queue, the bound grows by its square root in each window in which at least half of it was used; above,
// it shrinks in proportion, by half at most. What the latency is without a queue is learned: less is believed at
// once, more only while the bound is at Min or less than half of it is used, so that a queue is never taken for the
// usual, and yet a change that stays is.
//
// Latency is that of the extension's own code ([Outcome].Held, or Check): an upstream that takes its time doesn't
// move the bound.
//
// It is made for exchanges of about the same cost. A burst of cheap ones, such as requests that are refused at once,
// makes the others look slow when it is over, until their latency is learned anew, and who can send such bursts can
// have requests refused: Min is what is served even then, so set it to what is surely not too much.
type Adaptive struct {
	// Min and Max are the limits of the bound, and Initial is where it starts; 0 is DefaultAdaptiveMin,
	// DefaultAdaptiveMax, and 20 or Min if that is more.
	Min, Max, Initial int
	// Tolerance is by how much latency may exceed what it is without a queue; 0 is 2.
	Tolerance float64
	// Window is the least time between two moves; 0 is 100 ms. A window also has at least 10 exchanges.
	Window time.Duration
}

// The limits of an [Adaptive] bound without others.
const (
	DefaultAdaptiveMin = 4
	DefaultAdaptiveMax = 10_000
)

const (
	adaptiveInitial   = 20
	adaptiveTolerance = 2
	adaptiveWindow    = 100 * time.Millisecond
	// windowSamples are fewer than which say little.
	windowSamples = 10
	// smoothing is the part of a move that is made in one window.
	smoothing = 0.3
	// learning is the part of a longer latency that is believed to be the usual, in one window.
	learning = 0.1
)

func (a Adaptive) withDefaults() Adaptive {
	pick := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	pick(&a.Min, DefaultAdaptiveMin)
	pick(&a.Max, DefaultAdaptiveMax)
	a.Max = max(a.Max, a.Min)
	pick(&a.Initial, adaptiveInitial)
	a.Initial = min(max(a.Initial, a.Min), a.Max)
	if a.Tolerance < 1 {
		a.Tolerance = adaptiveTolerance
	}
	if a.Window <= 0 {
		a.Window = adaptiveWindow
	}
	return a
}

// level is where an adaptive bound stands.
type level struct {
	bound float64
	usual float64 // latency without a queue, in seconds; 0 is not known
}

// seen is what was measured since the last move.
type seen struct {
	mean float64 // latency, in seconds
	peak int     // how many were served at a time
}

// next is the level after a window. It depends on nothing else.
func (a Adaptive) next(l level, w seen) level {
	slack := float64(w.peak) < l.bound/2
	switch {
	case l.usual == 0 || w.mean < l.usual:
		l.usual = w.mean
	case slack, l.bound <= float64(a.Min):
		l.usual += (w.mean - l.usual) * learning
	}
	gradient := min(1, a.Tolerance*l.usual/w.mean)
	if gradient == 1 && slack {
		return l // it isn't what limits
	}
	aim := l.bound*max(gradient, 0.5) + math.Sqrt(l.bound)
	if gradient < 1 {
		aim = l.bound * max(gradient, 0.5)
	}
	l.bound = min(max(l.bound+(aim-l.bound)*smoothing, float64(a.Min)), float64(a.Max))
	return l
}

// adaptive is an Adaptive at work. It is used concurrently.
type adaptive struct {
	Adaptive

	bound atomic.Int64
	moved func(bound int64)

	mu    sync.Mutex
	level level
	since time.Time
	n     int
	sum   time.Duration
	peak  int
}

func newAdaptive(a Adaptive) *adaptive {
	a = a.withDefaults()
	l := &adaptive{Adaptive: a, level: level{bound: float64(a.Initial)}, moved: func(int64) {}}
	l.bound.Store(int64(a.Initial))
	return l
}

// observe takes note of one that is over, at that time, when so many were served.
func (l *adaptive) observe(now time.Time, took time.Duration, served int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.since.IsZero() {
		l.since = now
	}
	l.n++
	l.sum += max(took, time.Nanosecond)
	l.peak = max(l.peak, served)
	if l.n < windowSamples || now.Sub(l.since) < l.Window {
		return
	}
	l.level = l.next(l.level, seen{mean: l.sum.Seconds() / float64(l.n), peak: l.peak})
	l.since, l.n, l.sum, l.peak = now, 0, 0, 0
	bound := int64(l.level.bound)
	l.bound.Store(bound)
	l.moved(bound)
}
