package extproc

import (
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// within is the part of one of Envoy's timeouts that the processor gets: what is found a fifth of it late
// is still answered in time.
func within(timeout time.Duration) time.Duration { return timeout / 4 * 3 }

// bound is the shortest time that Process may be found to have taken too long in, 0 if there is none.
func (s *stream) bound() time.Duration {
	limit, timeout := max(s.server.sweeper.limit, 0), within(s.filter.Timeout)
	switch {
	case timeout <= 0, s.auto.mute:
		return limit
	case limit == 0:
		return timeout
	default:
		return min(limit, timeout)
	}
}

// timed reports whether Envoy waits for an answer with a timer: in full duplex it has none.
func (s *stream) timed(side side) bool {
	return s.auto.owes(side) != noMessage && !s.auto.sides[side].mode.duplex()
}

// mark notes, when the engine lets go of the exchange, what has come since and must be answered by when.
func (s *stream) mark(now int64) {
	timeout := int64(within(s.filter.Timeout))
	for i := range s.asked {
		if s.auto.owes(side(i)) == noMessage || s.asked[i].Load() != 0 {
			continue
		}
		s.asked[i].Store(now)
		if timeout > 0 && s.timed(side(i)) {
			s.due[i].Store(now + timeout)
		}
	}
}

// settle is called when a side's message is answered.
func (s *stream) settle(side side) {
	s.asked[side].Store(0)
	s.due[side].Store(0)
	if s.extended[side] {
		s.extended[side] = false
		s.limit.Store(int64(s.server.sweeper.limit)) // longer times were for this message
	}
}

// relax is called when a direction has become full duplex, and Envoy's timer with it has gone.
func (s *stream) relax(side side) { s.due[side].Store(0) }

// pressed reports whether an answer is due at a time.
func (s *stream) pressed(at int64) bool {
	for i := range s.due {
		if due := s.due[i].Load(); due != 0 && due <= at {
			return true
		}
	}
	return false
}

// extensible reports whether Envoy can be asked to wait for longer: it takes one extension for each message,
// of all that wait at the time.
func (s *stream) extensible() bool {
	if !s.filter.KeepAlive || s.server.keepAlive <= 0 || s.filter.MaxTimeout < time.Millisecond || s.ended {
		return false
	}
	some := false
	for i := range s.extended {
		if s.timed(side(i)) {
			if s.extended[i] {
				return false
			}
			some = true
		}
	}
	return some
}

// extension is how long the automatic extension is.
func (s *stream) extension() time.Duration { return min(s.filter.MaxTimeout, s.server.keepAlive) }

// keepAlive asks Envoy for the extension.
func (s *stream) keepAlive(now time.Time) {
	s.server.log.Debug("asking Envoy to wait for longer", "processor", s.server.name, "for", s.extension())
	s.prolong(s.extension(), now)
}

// prolong has Envoy wait for d from now on.
func (s *stream) prolong(d time.Duration, now time.Time) {
	s.out = appendTimeout(s.out[:0], d)
	s.send()
	for i := range s.extended {
		if s.timed(side(i)) {
			s.extended[i] = true
			s.due[i].Store(now.Add(within(d)).UnixNano())
		}
	}
}

// Deadline implements [exchange.Host].
func (s *stream) Deadline() (time.Time, bool) {
	since := s.since()
	for since > inside && !s.busy.CompareAndSwap(since, inside) { // the sweeper has it just now
		since = s.since()
	}
	if s.done || since <= inside {
		return time.Time{}, false
	}
	defer s.busy.Store(since) // asking doesn't make the time longer
	var at int64
	for i := range s.due {
		if due := s.due[i].Load(); due != 0 && (at == 0 || due < at) {
			at = due
		}
	}
	if at != 0 && s.extensible() {
		at += int64(within(s.extension()))
	}
	if limit := s.limit.Load(); limit > 0 && (at == 0 || since+limit < at) {
		at = since + limit
	}
	if at == 0 || !s.watched {
		return time.Time{}, false
	}
	return time.Unix(0, at), true
}

// ExtendTimeout implements [exchange.Host].
func (s *stream) ExtendTimeout(d time.Duration) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.leave()
	side := requestSide
	if s.response != nil {
		side = responseSide
	}
	now := time.Now()
	if !s.timed(side) {
		s.extend(d) // no timer runs
		return nil
	}
	switch {
	case d < time.Millisecond || d > s.filter.MaxTimeout:
		return s.prevented(unmet("a timeout of " + d.String()))
	case s.extended[side]:
		if now.Add(within(d)).UnixNano() <= s.due[side].Load() {
			return nil // it has been asked for
		}
		return s.prevented(unmet("a second longer timeout"))
	}
	s.prolong(d, now)
	s.extend(within(d))
	return nil
}

// extend sets the limit of a Process that has one.
func (s *stream) extend(limit time.Duration) {
	if s.watched {
		s.limit.Store(int64(limit))
	}
}

// appendTimeout appends the override_message_timeout of a ProcessingResponse, beside which Envoy reads
// nothing.
func appendTimeout(dst []byte, d time.Duration) []byte {
	dst, mark := wire.Open(dst, 10)
	dst = wire.AppendVarint(dst, 1, uint64(d/time.Second))
	dst = wire.AppendVarint(dst, 2, uint64(d%time.Second))
	return wire.Close(dst, mark)
}
