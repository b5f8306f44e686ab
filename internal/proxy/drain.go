package proxy

import (
	"bytes"
	"context"
	"strconv"
	"syscall"
	"time"
)

const (
	drainPoll = 20 * time.Millisecond
	// idleGrace is what connections without a request get to be closed by their clients. A request
	// that is on its way at the moment of the end would be lost.
	idleGrace = time.Second
)

// stop drains and ends the child. It returns when the process is gone. ctx has ended already; its
// values are kept.
func (p *Process) stop(ctx context.Context, c *child) {
	if p.config.DrainTimeout > 0 {
		drainCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.config.DrainTimeout)
		p.drain(drainCtx, c)
		cancel()
	}
	c.words.ending.Store(true)
	// Errors mean that the process has ended meanwhile.
	_ = c.process.Signal(syscall.SIGTERM)
	if !c.waitFor(killAfter) {
		p.config.Logger.Warn("envoy did not end on SIGTERM and is killed", "pid", c.process.Pid)
		_ = c.process.Kill()
		<-c.done
	}
}

// drain asks Envoy to end its connections and waits until they have ended or ctx does.
//
// The failed health check is what makes every answer say `connection: close` at once: the drain
// sequence by itself does so with a chance that grows over --drain-time-s, 10 minutes.
func (p *Process) drain(ctx context.Context, c *child) {
	for _, path := range []string{"/healthcheck/fail", "/drain_listeners?graceful"} {
		if _, err := p.Post(ctx, path); err != nil {
			p.config.Logger.Warn("envoy can't be drained", "error", err)
			return
		}
	}
	// In the second half no new connection is accepted, so that a steady load can't use up the time of
	// the requests that are under way.
	closing := time.NewTimer(p.config.DrainTimeout / 2)
	defer closing.Stop()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	var open load
	var idleSince time.Time
	for {
		now, err := p.load(ctx)
		if err == nil {
			open = now
		}
		switch {
		case err == nil && open.connections == 0:
			return
		case ctx.Err() != nil: // also where it has ended the look at the load
			p.config.Logger.Warn("drain time is over: active requests are cut off", "connections", open.connections)
			return
		case err != nil:
			return
		case !open.idle():
			idleSince = time.Time{}
		case idleSince.IsZero():
			idleSince = time.Now()
		case time.Since(idleSince) >= idleGrace:
			return
		}
		select {
		case <-tick.C:
		case <-closing.C:
			_, _ = p.Post(ctx, "/drain_listeners")
		case <-c.done:
			return
		case <-ctx.Done():
		}
	}
}

// load is what clients have open: all connections, those that speak HTTP, and requests on these.
type load struct{ connections, http, requests int }

// idle means that no request is active. What isn't HTTP counts as active while it is open.
func (l load) idle() bool { return l.requests == 0 && l.http >= l.connections }

// load reads the gauges listener.<address>.downstream_cx_active, http.<prefix>.downstream_cx_active
// and http.<prefix>.downstream_rq_active, those of the admin listener left out.
func (p *Process) load(ctx context.Context) (load, error) {
	const page = `/stats?usedonly&type=Gauges&filter=%5E(listener%7Chttp)%5C..*downstream_(cx%7Crq)_active%24`
	body, err := p.Get(ctx, page)
	if err != nil {
		return load{}, err
	}
	var l load
	for line := range bytes.Lines(body) {
		name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		n, err := strconv.Atoi(string(value))
		if !ok || err != nil || bytes.HasPrefix(name, []byte("http.admin.")) ||
			bytes.HasPrefix(name, []byte("listener.admin.")) || bytes.Contains(name, []byte(".worker_")) {
			continue
		}
		switch {
		case bytes.HasPrefix(name, []byte("listener.")):
			l.connections += n
		case bytes.HasSuffix(name, []byte("rq_active")):
			l.requests += n
		default:
			l.http += n
		}
	}
	return l, nil
}
