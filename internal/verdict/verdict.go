// Package verdict asks an Authorizer about a request and makes of every doubt a denial. The engines of
// ext_authz and of ext_proc share it, so that what decides a request doesn't depend on the protocol.
package verdict

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Decider decides. It is used concurrently and not changed after its first use.
type Decider struct {
	// Choose returns the Authorizer for a request; nil denies.
	Choose func(*exchange.Request) exchange.Authorizer
	Log    *slog.Logger

	begins    []Beginner
	observers []Observer
}

// A Beginner is told of every request before it is decided. The decision and the observers of its verdict
// run in the context that it returns, which is that of ctx with more in it.
type Beginner = func(ctx context.Context, r *exchange.Request) context.Context

// An Observer is told of every verdict, and the time it took.
type Observer = func(context.Context, *exchange.Request, exchange.Verdict, time.Duration)

// Tell adds an observer, before the first use.
func (d *Decider) Tell(observe Observer) { d.observers = append(d.observers, observe) }

// Before adds a Beginner, before the first use.
func (d *Decider) Before(begin Beginner) { d.begins = append(d.begins, begin) }

// Begin returns the context for what follows about r.
func (d *Decider) Begin(ctx context.Context, r *exchange.Request) context.Context {
	for _, begin := range d.begins {
		ctx = d.begin(ctx, begin, r) //nolint:fatcontext // each adds to what the one before has made; they are few
	}
	return ctx
}

func (d *Decider) begin(ctx context.Context, begin Beginner, r *exchange.Request) (began context.Context) {
	defer func() {
		if p := recover(); p != nil {
			d.logPanic(ctx, "observer of checks panicked", p)
			began = ctx
		}
	}()
	return begin(ctx, r)
}

// Decide returns the verdict about r, which [Check] may still find unsendable.
func (d *Decider) Decide(ctx context.Context, r *exchange.Request) (verdict exchange.Verdict) {
	defer func() {
		if p := recover(); p != nil {
			d.logPanic(ctx, "authorizer panicked, denying", p)
			verdict = Failed(exchange.ReasonPanic)
		}
	}()
	authorizer := d.Choose(r)
	if authorizer == nil {
		return Failed(exchange.ReasonNoAuthorizer)
	}
	verdict, err := authorizer.Check(ctx, r)
	if err == nil {
		err = r.Body.Err() // a function over the body that failed has decided nothing
	}
	if err != nil {
		return d.failure(ctx, err)
	}
	if verdict.Allow && ctx.Err() != nil {
		return Failed(exchange.ReasonLate)
	}
	return verdict
}

// failure is the verdict that an error stands for.
func (d *Decider) failure(ctx context.Context, err error) exchange.Verdict {
	var reply *exchange.Reply
	switch {
	case errors.As(err, &reply) && reply != nil:
		if reply.Cause != nil {
			d.Log.WarnContext(ctx, "authorizer replied", "code", reply.Status(), "cause", reply.Cause)
		}
		return exchange.Verdict{Reply: reply, Reason: "reply"}
	case errors.Is(err, exchange.ErrTooLarge):
		return exchange.Verdict{
			Reply:  exchange.Deny(http.StatusRequestEntityTooLarge, "request body too large"),
			Reason: "body_too_large",
		}
	}
	d.Log.ErrorContext(ctx, "authorizer failed, denying", "error", err)
	return Failed(exchange.ReasonError)
}

// Failed is the denial for a reason that is the engine's own.
func Failed(reason string) exchange.Verdict {
	return exchange.Verdict{
		Reply:  exchange.Deny(http.StatusServiceUnavailable, "authorization unavailable"),
		Reason: reason,
	}
}

// Unsendable is the denial in place of a verdict that err says can't be expressed.
func (d *Decider) Unsendable(ctx context.Context, v exchange.Verdict, err error) exchange.Verdict {
	d.Log.ErrorContext(ctx, "verdict can't be sent, denying", "error", err, "reason", v.Reason)
	return Failed(exchange.ReasonUnsendable)
}

// Report tells the observers of a verdict that took the time since start.
func (d *Decider) Report(ctx context.Context, r *exchange.Request, v exchange.Verdict, start time.Time) {
	if len(d.observers) == 0 {
		return
	}
	took := time.Since(start)
	for _, observe := range d.observers {
		d.tell(ctx, observe, r, v, took)
	}
}

func (d *Decider) tell(ctx context.Context, observe Observer, r *exchange.Request, v exchange.Verdict, took time.Duration) {
	defer func() {
		if p := recover(); p != nil {
			d.logPanic(ctx, "observer of verdicts panicked", p)
		}
	}()
	observe(ctx, r, v, took)
}

// logPanic logs the stack, and the panic's text only where the runtime wrote it: user code's may quote
// a credential.
func (d *Decider) logPanic(ctx context.Context, msg string, p any) {
	text := fmt.Sprintf("%T", p)
	if err, ok := p.(runtime.Error); ok {
		text = err.Error()
	}
	d.Log.ErrorContext(ctx, msg, "panic", text, "stack", string(debug.Stack()))
}
