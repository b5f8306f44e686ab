package extproc

import (
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/wire"
)

// within is the part of one of Envoy's timeouts that the processor gets: what is found a fifth of it late
// is still answered in time.
func within(timeout time.Duration) time.Duration { return timeout / 4 * 3 }

// patience is how long Process may keep that side of the exchange waiting, 0 for ever: the Server's limit,
// or less where Envoy is known to wait less. In full duplex Envoy has no timer.
func (s *stream) patience(side side) time.Duration {
	limit, timeout := max(s.server.sweeper.limit, 0), within(s.filter.Timeout)
	switch {
	case timeout <= 0, s.auto.mute, s.auto.sides[side].mode.duplex():
		return limit
	case limit == 0:
		return timeout
	default:
		return min(limit, timeout)
	}
}

// relax is called when a direction has become full duplex, and Envoy's timer with it has gone.
func (s *stream) relax(side side) {
	if !s.watched {
		return
	}
	if limit := int64(s.patience(side)); limit == 0 || limit > s.limit.Load() {
		s.limit.Store(limit)
	}
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
	if s.auto.owes(side) == noMessage || s.auto.sides[side].mode.duplex() {
		s.extend(d) // no timer runs
		return nil
	}
	switch {
	case d < time.Millisecond || d > s.filter.MaxTimeout:
		return unmet("a timeout of " + d.String())
	case s.extended[side]:
		return unmet("a second longer timeout")
	}
	s.extended[side] = true
	s.out = appendTimeout(s.out[:0], d)
	s.send()
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
