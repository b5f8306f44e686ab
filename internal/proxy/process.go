package proxy

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	// restartMin and restartMax bound the pause before Envoy is started again.
	restartMin = 50 * time.Millisecond
	restartMax = 10 * time.Second
	// healthyAfter is how long an Envoy must have lived for its end to count as a first one.
	healthyAfter = time.Minute
	// killAfter is how long Envoy may take to end after SIGTERM.
	killAfter = 5 * time.Second
)

// Process is one supervised Envoy. Its methods are safe for concurrent use.
type Process struct {
	config Config
	admin  *http.Client
	pid    atomic.Int64
}

// New returns a Process that runs nothing until [Process.Run].
func New(config Config) *Process {
	config.defaults()
	return &Process{config: config, admin: adminClient(config.AdminSocket)}
}

// Run runs Envoy until ctx ends, then drains and stops it and returns nil: no process of it is left.
// An Envoy that ends by itself is started again, after a pause that grows from 50 ms to 10 s and is
// short again once one has lived for a minute. Run fails only if the first start does: a wrong
// configuration, a binary that can't be executed. It must not be called twice.
func (p *Process) Run(ctx context.Context) error {
	args, err := p.config.prepare()
	if err != nil {
		return err
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = restartMin, restartMax
	for first := true; ; first = false {
		began := time.Now()
		ended, err := p.runOnce(ctx, args)
		if err != nil && first {
			return err
		}
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end that the caller asked for
		}
		if time.Since(began) >= healthyAfter {
			pause.Reset()
		}
		wait := pause.NextBackOff()
		p.config.Logger.Error("envoy ended and is started again", "error", err, "state", ended, "after", time.Since(began), "pause", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// runOnce runs one Envoy until it ends or ctx does. The error says that it could not be started; how
// it ended, with its last words, is in ended.
func (p *Process) runOnce(ctx context.Context, args []string) (ended string, err error) {
	if p.config.AdminSocket != "" {
		_ = os.Remove(p.config.AdminSocket) // left by an Envoy that was killed
	}
	c, err := startChild(&p.config, args)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", p.config.Binary, err)
	}
	p.pid.Store(int64(c.process.Pid))
	defer p.pid.Store(0)
	p.config.Logger.Info("envoy started", "pid", c.process.Pid)
	select {
	case <-c.done:
		return c.ended(), nil
	case <-ctx.Done():
	}
	p.stop(ctx, c)
	p.config.Logger.Info("envoy stopped", "pid", c.process.Pid)
	return "", nil
}

// Pid returns the process id of the running Envoy, or 0.
func (p *Process) Pid() int { return int(p.pid.Load()) }
