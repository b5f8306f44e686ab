package extproc

import (
	"errors"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// WithAdmission has admit decide, before the Processor sees anything of an exchange, whether it is taken
// on. An error refuses it: the client gets the failure verdict, or, if the error is or wraps a
// [exchange.Reply], that; nothing is logged, and the Outcome's Err is that error. release is called once for
// each exchange that was admitted, when it is over. Both are called concurrently and must not block: a server
// that queues what it can't serve makes every client wait for nothing. Where the option is given several
// times, all must admit.
//
// Exchanges that an earlier filter answered aren't asked about.
func WithAdmission(admit func() error, release func()) Option {
	return option(func(s *Server) {
		before, after := s.admit, s.release
		s.admit = func() error {
			if err := before(); err != nil {
				return err
			}
			err := admit()
			if err != nil {
				after()
			}
			return err
		}
		s.release = func() {
			release()
			after()
		}
	})
}

// OnOutcome calls observe with the Outcome of every exchange, the refused ones too, after the hooks that
// its Processor has registered by [exchange.Exchange.OnComplete]. It is called concurrently. Exchanges
// that an earlier filter answered have none. Where the option is given several times, all are called.
func OnOutcome(observe func(exchange.Outcome)) Option {
	return option(func(s *Server) {
		before := s.observe
		if before == nil {
			s.observe = observe
			return
		}
		s.observe = func(o exchange.Outcome) {
			before(o)
			observe(o)
		}
	})
}

// refuse ends an exchange that the Processor doesn't get to see.
func (s *stream) refuse(cause error) error {
	s.outcome.Err = cause
	if errors.Is(cause, exchange.ErrNeeds) {
		s.outcome.Prevented++
	}
	own, _ := errors.AsType[*exchange.Reply](cause)
	switch {
	case s.auto.mute:
	case own != nil:
		s.reply(own)
	case s.server.left:
		return s.leaveFailure()
	default:
		failure := s.server.failure
		s.reply(&failure)
	}
	return nil
}
