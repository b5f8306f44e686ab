package basic

import (
	"context"
	"errors"
	"sync"
)

// checks joins the computations of one credential that are asked for at the same time: after a change of
// the file the first requests of a busy client would else each compute what one computation tells all.
// A joined check tells nothing about others: its key holds user, password and stored hash, for unknown
// users too.
type checks struct {
	mu      sync.Mutex
	running map[[32]byte]*check
}

// check is one computation. What follows done may be read once that is closed.
type check struct {
	done  chan struct{}
	match bool
	err   error
}

// join returns the running computation of key, or a new one, which the caller must end by finish.
func (c *checks) join(key [32]byte) (_ *check, leads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if running, found := c.running[key]; found {
		return running, false
	}
	if c.running == nil {
		c.running = map[[32]byte]*check{}
	}
	// The error stands unless there is a result, so that a panic lets no follower pass.
	started := &check{done: make(chan struct{}), err: context.Canceled}
	c.running[key] = started
	return started, true
}

func (c *checks) finish(key [32]byte, of *check) {
	c.mu.Lock()
	delete(c.running, key)
	c.mu.Unlock()
	close(of.done)
}

// wait returns the result. again: the request that computed it ended before, which says nothing about
// those that still wait.
func (c *check) wait(ctx context.Context) (match, again bool, err error) {
	select {
	case <-c.done:
	case <-ctx.Done():
		return false, false, ctx.Err()
	}
	again = errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.DeadlineExceeded)
	return c.match, again, c.err
}
