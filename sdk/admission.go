package sdk

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Why an exchange was refused before its Processor saw it: the Err of its [Outcome].
var (
	// ErrOverloaded indicates more exchanges than WithMaxExchanges allows.
	ErrOverloaded = errors.New("too many exchanges at a time")
	// ErrNotReady indicates an exchange that came during the warm-up.
	ErrNotReady = errors.New("the server is not ready")
)

// admission counts what is being served and refuses what is too much.
type admission struct {
	limit int64 // 0: none
	open  atomic.Int64
	ready atomic.Bool
	shed  func() // counts
}

func (a *admission) admit() error {
	if !a.ready.Load() {
		return ErrNotReady
	}
	if n := a.open.Add(1); a.limit > 0 && n > a.limit {
		a.open.Add(-1)
		a.shed()
		return ErrOverloaded
	}
	return nil
}

func (a *admission) release() { a.open.Add(-1) }

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
		reason := reasonOverloaded
		if errors.Is(err, ErrNotReady) {
			reason = reasonNotReady
		}
		return exchange.Verdict{Reply: exchange.Deny(http.StatusServiceUnavailable, "authorization unavailable"), Reason: reason}, nil
	}
	defer a.admission.release()
	return a.Authorizer.Check(ctx, r)
}
