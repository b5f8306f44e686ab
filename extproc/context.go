package extproc

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of an exchange: that of its gRPC stream, which the sweeper can cancel too. Few
// processors wait for it, so it becomes a cancellable one when somebody asks for the channel.
type callContext struct {
	parent context.Context

	mu     sync.Mutex
	real   context.Context // nil until Done is called
	cancel context.CancelCauseFunc
	cause  error // set when it was cancelled before
}

// Deadline implements [context.Context].
func (c *callContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Done implements [context.Context].
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real == nil {
		c.real, c.cancel = context.WithCancelCause(c.parent)
		if c.cause != nil {
			c.cancel(c.cause)
		}
	}
	return c.real.Done()
}

// now is the context that answers for c at present.
func (c *callContext) now() (ctx context.Context, cancelled error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.real != nil {
		return c.real, nil
	}
	return c.parent, c.cause
}

// Err implements [context.Context].
func (c *callContext) Err() error {
	ctx, cancelled := c.now()
	if cancelled != nil {
		return context.Canceled
	}
	return ctx.Err()
}

// Value implements [context.Context]. Once there is a cancellable context it answers, since package context
// finds the ancestor to be cancelled with by a value.
func (c *callContext) Value(key any) any {
	ctx, _ := c.now()
	return ctx.Value(key)
}

// end cancels the context.
func (c *callContext) end(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return
	}
	c.cause = cause
	if c.real != nil {
		c.cancel(cause)
	}
}
