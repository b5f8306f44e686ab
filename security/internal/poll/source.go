package poll

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Task is what a [Source] does of its own.
type Task interface {
	// Look fetches once, and reports whether something else is in force now and what went wrong. Both can be:
	// what an earlier process has kept may stand in for a server that doesn't answer. It is never called twice
	// at a time; a panic is a failed fetch.
	Look(ctx context.Context) (changed bool, err error)
	// Looked is called after each look of the source's own goroutine, unless it is stopped.
	Looked(changed bool)
	// Interval is how long what is fetched is good for. It must not call the Source.
	Interval() time.Duration
}

// Messages are the log's words for a source. A server that is down for a day is one event: the first failure.
type Messages struct {
	Failed, Recovered string
	Attrs             []any
}

// Source is one such thing, and the goroutine that keeps it fresh:
//
//	         ┌── good ──▶ wait 80-100 % of the interval ──┐
//	look ────┤                                            ├──▶ look
//	         └── bad ───▶ wait 1, 2, 4 … 30 s ────────────┘
//
// It is safe for concurrent use.
type Source struct {
	ctx     context.Context
	cancel  context.CancelFunc
	task    Task
	said    Messages
	log     *slog.Logger
	backoff Backoff
	sooner  chan struct{} // the next look is due earlier than the timer says

	mu     sync.Mutex
	record Record
	inARow int // failures
}

// Record is how a source gets on.
type Record struct {
	// LastSuccess is zero before the first good fetch; it may be one of an earlier process.
	LastSuccess time.Time
	// LastAttempt is zero before the first fetch has begun, and Next before it has ended.
	LastAttempt, Next time.Time
	// LastError is the last fetch's failure, "" after a success.
	LastError string
	// Fetches and Failures count since the start of the process.
	Fetches, Failures uint64
}

// Record returns how the source gets on.
func (s *Source) Record() Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.record
}

// Stop ends fetching, and doesn't wait for a fetch under way.
func (s *Source) Stop() { s.cancel() }

// Run looks again and again until Stop.
func (s *Source) Run() {
	timer := time.NewTimer(time.Until(s.Record().Next))
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.sooner:
		case <-timer.C:
			changed := s.LookNow()
			if s.ctx.Err() == nil {
				s.task.Looked(changed)
			}
		}
		timer.Reset(time.Until(s.Record().Next))
	}
}

// LookNow fetches once and reports whether something else is in force now. It is for the time before Run.
func (s *Source) LookNow() (changed bool) {
	s.mu.Lock()
	s.record.LastAttempt = time.Now()
	s.record.Fetches++
	s.mu.Unlock()
	changed, err := s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed(err)
	} else {
		s.succeeded()
	}
	return changed
}

func (s *Source) look() (changed bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return s.task.Look(s.ctx)
}

func (s *Source) failed(err error) {
	if s.inARow == 0 && s.ctx.Err() == nil {
		s.log.With(s.said.Attrs...).Warn(s.said.Failed, "error", err)
	}
	s.record.LastError = err.Error()
	s.record.Next = time.Now().Add(s.backoff.Pause(s.inARow))
	s.inARow++
	s.record.Failures++
}

func (s *Source) succeeded() {
	if s.inARow > 0 {
		s.log.With(s.said.Attrs...).Info(s.said.Recovered, "failures", s.inARow)
	}
	s.inARow = 0
	s.record.LastError, s.record.LastSuccess = "", s.record.LastAttempt
	// Never later than the interval, which bounds how long what was withdrawn is believed.
	s.record.Next = s.record.LastAttempt.Add(Early(s.task.Interval()))
}

// Kept notes that what is in force was good at a time in an earlier process.
func (s *Source) Kept(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record.LastSuccess = at
}

// Shorten is called after the interval may have become shorter: the bound on what was withdrawn is that of
// whoever asks for the shortest, not of whoever came first.
func (s *Source) Shorten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dueBy(s.record.LastAttempt.Add(s.task.Interval()))
}

// LookSoon asks for a look and returns at once. Within the cooldown since the last one began, good or bad,
// nothing is remembered.
func (s *Source) LookSoon(cooldown time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.record.LastAttempt) >= cooldown {
		s.dueBy(now)
	}
}

func (s *Source) dueBy(latest time.Time) {
	if !s.record.Next.After(latest) {
		return
	}
	s.record.Next = latest
	select {
	case s.sooner <- struct{}{}:
	default:
	}
}
