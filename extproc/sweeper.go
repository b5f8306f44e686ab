package extproc

import (
	"sync"
	"time"
)

// sweeper finds the exchanges whose Process has kept them waiting past their limit: one goroutine for all
// of a Server's streams, while it has any, in place of a timer for each.
type sweeper struct {
	limit time.Duration // without one of the stream's own

	mu      sync.Mutex
	streams map[*stream]struct{}
	tick    *time.Ticker // nil while nothing runs
	every   time.Duration
}

// add watches a stream whose time is bounded.
func (w *sweeper) add(s *stream) {
	bound := s.bound()
	if bound <= 0 {
		return
	}
	s.watched = true
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams == nil {
		w.streams = map[*stream]struct{}{}
	}
	w.streams[s] = struct{}{}
	every := max(bound/5, time.Millisecond)
	switch {
	case w.tick == nil:
		w.tick, w.every = time.NewTicker(every), every
		go w.run(w.tick)
	case every < w.every:
		w.every = every
		w.tick.Reset(every)
	}
}

func (w *sweeper) remove(s *stream) {
	if !s.watched {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.streams, s)
}

func (w *sweeper) run(tick *time.Ticker) {
	defer tick.Stop()
	idle := 0
	for now := range tick.C {
		w.mu.Lock()
		for s := range w.streams {
			if s.overdue(now) {
				delete(w.streams, s)
			}
		}
		// Some quiet rounds are waited for, so that single requests don't start a goroutine each.
		if idle++; len(w.streams) > 0 {
			idle = 0
		}
		if idle > 10 {
			w.tick = nil
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

// overdue takes the exchange from its Process if that has run for longer than it may. If only Envoy's patience
// runs out, and can be had longer, it is asked for, once, and Process keeps the exchange. Else no other
// goroutine sends from then on: Process's calls fail, and its return waits for the sweeper.
func (s *stream) overdue(now time.Time) bool {
	since, at := s.busy.Load(), now.UnixNano()
	if since <= inside {
		return false
	}
	limit := s.limit.Load()
	late := limit > 0 && since <= at-limit
	if !late && !s.pressed(at) {
		return false
	}
	s.sweeping.Lock()
	if !s.busy.CompareAndSwap(since, paused) {
		s.sweeping.Unlock()
		return false
	}
	// Sending may block on flow control, which must not hold up the other exchanges.
	if !late && s.extensible() {
		go func() {
			defer s.sweeping.Unlock()
			s.keepAlive(now)
			s.busy.Store(since)
		}()
		return false
	}
	s.busy.Store(swept)
	s.outcome.Held += time.Duration(at - since)
	s.server.log.Error("processor is too slow", "processor", s.server.name, "response_started", s.started)
	go func() {
		defer s.sweeping.Unlock()
		if !s.started && !s.auto.replied && !s.ended && !s.server.left {
			failure := s.server.failure
			s.metadata = nil
			s.reply(&failure)
		}
		s.ctx.end(errSlow)
	}()
	return true
}
