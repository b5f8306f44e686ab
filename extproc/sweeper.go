package extproc

import (
	"sync"
	"time"
)

// sweeper finds the exchanges whose Process has kept them waiting past the limit: one goroutine for all
// of a Server's streams, while it has any, in place of a timer for each.
type sweeper struct {
	limit time.Duration

	mu      sync.Mutex
	streams map[*stream]struct{}
	running bool
}

func (w *sweeper) add(s *stream) {
	if w.limit <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams == nil {
		w.streams = map[*stream]struct{}{}
	}
	w.streams[s] = struct{}{}
	if !w.running {
		w.running = true
		go w.run()
	}
}

func (w *sweeper) remove(s *stream) {
	if w.limit <= 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.streams, s)
}

func (w *sweeper) run() {
	tick := time.NewTicker(max(w.limit/5, time.Millisecond))
	defer tick.Stop()
	idle := 0
	for now := range tick.C {
		w.mu.Lock()
		for s := range w.streams {
			if s.overdue(now.Add(-w.limit)) {
				delete(w.streams, s)
			}
		}
		// Some quiet rounds are waited for, so that single requests don't start a goroutine each.
		if idle++; len(w.streams) > 0 {
			idle = 0
		}
		if idle > 10 {
			w.running = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

// overdue takes the exchange from its Process if that has run since before limit. From then on no other
// goroutine sends: Process's calls fail, and its return waits for the sweeper.
func (s *stream) overdue(limit time.Time) bool {
	since := s.busy.Load()
	if since <= inside || since > limit.UnixNano() {
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
		s.cancel(errSlow)
	}()
	return true
}
