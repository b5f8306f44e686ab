package sdk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Why an exchange was refused before its Processor saw it: the Err of its [Outcome].
var (
	// ErrOverloaded indicates more exchanges than WithMaxExchanges or WithAdaptiveExchanges allows.
	ErrOverloaded = errors.New("too many exchanges at a time")
	// ErrNotReady indicates an exchange that came during the warm-up.
	ErrNotReady = errors.New("the server is not ready")
)

// admission counts what is being served and refuses what is too much.
type admission struct {
	limit    int64     // 0: none
	adaptive *adaptive // nil: none
	open     atomic.Int64
	ready    atomic.Bool
	shed     func() // counts
	reply    *Reply // nil is the failure verdict
}

func (a *admission) admit() error {
	if !a.ready.Load() {
		return ErrNotReady
	}
	if n := a.open.Add(1); a.exceeds(n) {
		a.open.Add(-1)
		a.shed()
		if a.reply != nil {
			return fmt.Errorf("%w: %w", ErrOverloaded, a.reply)
		}
		return ErrOverloaded
	}
	return nil
}

func (a *admission) exceeds(n int64) bool {
	return a.limit > 0 && n > a.limit || a.adaptive != nil && n > a.adaptive.bound.Load()
}

func (a *admission) release() { a.open.Add(-1) }

// outcome has the adaptive bound learn from an exchange that its processor has seen: one that was refused
// before tells nothing of how long the processor takes. It has left already, and counts among those served.
func (a *admission) outcome(o exchange.Outcome) {
	if o.Held > 0 {
		a.adaptive.observe(time.Now(), o.Held, int(a.open.Load())+1)
	}
}

// measure has the instruments tell the bound.
func (a *admission) measure(limit interface{ Set(n float64) }) {
	switch {
	case a.adaptive != nil:
		a.adaptive.moved = func(bound int64) { limit.Set(float64(bound)) }
		limit.Set(float64(a.adaptive.bound.Load()))
	default:
		limit.Set(float64(a.limit))
	}
}

// The reasons of verdicts for checks that were refused.
const (
	reasonOverloaded = "overloaded"
	reasonNotReady   = "not_ready"
)

// admitted is an Authorizer that is asked only what its server can take.
type admitted struct {
	exchange.Authorizer

	admission *admission
}

// Check implements [exchange.Authorizer].
func (a admitted) Check(ctx context.Context, r *exchange.Request) (exchange.Verdict, error) {
	if err := a.admission.admit(); err != nil {
		return refusal(err), nil
	}
	defer a.admission.release()
	if a.admission.adaptive == nil {
		return a.Authorizer.Check(ctx, r)
	}
	start := time.Now()
	defer func() {
		now := time.Now()
		a.admission.adaptive.observe(now, now.Sub(start), int(a.admission.open.Load()))
	}()
	return a.Authorizer.Check(ctx, r)
}

// refusal is the verdict for a check that isn't admitted.
func refusal(err error) exchange.Verdict {
	v := exchange.Verdict{Reply: exchange.Deny(http.StatusServiceUnavailable, "authorization unavailable"), Reason: reasonOverloaded}
	if errors.Is(err, ErrNotReady) {
		v.Reason = reasonNotReady
	}
	if reply, ok := errors.AsType[*Reply](err); ok {
		v.Reply = reply
	}
	return v
}
