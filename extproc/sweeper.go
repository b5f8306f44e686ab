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

// add watches a stream that has a limit, unless it does so already.
func (w *sweeper) add(s *stream) {
	limit := time.Duration(s.limit.Load())
	if limit <= 0 || s.watched {
		return
	}
	s.watched = true
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams == nil {
		w.streams = map[*stream]struct{}{}
	}
	w.streams[s] = struct{}{}
	every := max(limit/5, time.Millisecond)
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

// overdue takes the exchange from its Process if that has run for longer than its limit. From then on no
// other goroutine sends: Process's calls fail, and its return waits for the sweeper.
func (s *stream) overdue(now time.Time) bool {
	since, limit := s.busy.Load(), s.limit.Load()
	if since <= inside || limit <= 0 || since > now.UnixNano()-limit {
		return false
	}
	s.sweeping.Lock()
	if !s.busy.CompareAndSwap(since, swept) {
		s.sweeping.Unlock()
		return false
	}
	s.server.log.Error("processor is too slow", "processor", s.server.name, "response_started", s.started)
	// Sending may block on flow control, which must not hold up the other exchanges.
	go func() {
		defer s.sweeping.Unlock()
		if !s.started && !s.auto.replied && !s.ended {
			failure := s.server.failure
			s.metadata = nil
			s.reply(&failure)
		}
		s.ctx.end(errSlow)
	}()
	return true
}
