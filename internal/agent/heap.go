package agent

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// headroom is how much is allocated at least between two garbage collections. A process with few policies
// lives on a few MiB, and the default of collecting whenever that doubles would do so many times a
// second under load. BenchmarkVerdictUnderGC, Rego on two cores: 4.7 µs a verdict without, 3.7 µs with it.
const headroom = 32 << 20

// heapFloor keeps the collector's target above a floor, instead of one multiple of the heap for every
// size: a process with thousands of policies keeps the default. Safe for concurrent use.
type heapFloor struct {
	fixed bool // the operator has set GOGC, and that counts
	set   func(percent int) int

	mu      sync.Mutex
	percent int
	cycles  uint64
	samples []metrics.Sample
}

// The indexes of heapFloor's samples.
const (
	liveBytes = iota
	objectBytes
	collections
)

func newHeapFloor() *heapFloor {
	return &heapFloor{
		fixed: os.Getenv("GOGC") != "", set: debug.SetGCPercent, percent: defaultPercent,
		samples: []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}},
	}
}

// loaded is for when policies were loaded. What of them lives is known only after the next collection;
// until then everything counts, for a percentage that was right for a small heap would let a large one
// grow to many times its size.
func (h *heapFloor) loaded() { h.adjust(objectBytes) }

// tick is for now and then: it corrects what loaded had to guess.
func (h *heapFloor) tick() { h.adjust(liveBytes) }

func (h *heapFloor) adjust(by int) {
	if h.fixed {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	metrics.Read(h.samples)
	cycles := h.samples[collections].Value.Uint64()
	if by == liveBytes && cycles == h.cycles {
		return // nothing new is known since
	}
	h.cycles = cycles
	percent := percentFor(h.samples[by].Value.Uint64())
	// Setting it stops the world for a moment, so small changes of the heap's size don't.
	if difference := percent - h.percent; difference < -h.percent/8 || difference > h.percent/8 {
		h.set(percent)
		h.percent = percent
	}
}

const (
	defaultPercent = 100
	maxPercent     = 800 // that of 4 MiB, Go's own least heap
)

// percentFor is the GOGC at which a heap of live bytes has its headroom.
func percentFor(live uint64) int {
	if live < headroom/(maxPercent/100) {
		return maxPercent
	}
	return max(defaultPercent, int(100*headroom/live))
}
