// Package opa is the Rego stage of a policy as it runs: the modules of the policy itself together with the
// bundles that it names, compiled anew whenever one of these changes.
package opa

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

// ErrNoBundle indicates that not all bundles of the policy are there yet: 503.
var ErrNoBundle = errors.New("a bundle of the policy isn't there yet")

// Deps are what an [Engine] needs from its program.
type Deps struct {
	// Policy is its namespace/name.
	Policy string
	Data   config.Data
	// Bundles fetches for all policies of the process; nil forbids bundles.
	Bundles *bundle.Fetcher
	// Decisions writes the decision logs of the process; nil: none is written, as where decisions are only
	// tried out.
	Decisions *decisionlog.Log
	// Credentials are where the policy's other stages look for tokens and keys: they are in no log.
	Credentials decisionlog.Credentials
}

// Engine decides by the newest generation of modules and documents that compiles. Safe for concurrent use.
type Engine struct {
	spec    *config.OPA
	deps    Deps
	bundles []*bundle.Subscription
	log     *decisionlog.Logger // nil: none
	current atomic.Pointer[rego.Policy]

	mu     sync.Mutex
	closed bool
}

// Compile checks and compiles spec. With bundles there is no error while these are on their way, or don't
// compile together with the rest: the engine denies with [ErrNoBundle] until they are there and do.
func Compile(spec *config.OPA, deps Deps) (*Engine, error) {
	e := &Engine{spec: spec, deps: deps}
	if err := e.openLog(); err != nil {
		return nil, fmt.Errorf("opa.decisionLog: %w", err)
	}
	if len(spec.Bundles) == 0 {
		compiled, err := rego.Compile(spec, deps.Data)
		if err != nil {
			return nil, err
		}
		e.current.Store(compiled)
		return e, nil
	}
	if err := rego.Parse(spec, deps.Data); err != nil {
		return nil, err
	}
	if err := e.subscribe(); err != nil {
		e.Close()
		return nil, err
	}
	e.refresh()
	return e, nil
}

func (e *Engine) openLog() (err error) {
	if e.spec.DecisionLog == nil || e.deps.Decisions == nil {
		return nil
	}
	path := cmp.Or(e.spec.Decision, rego.DefaultDecision)
	e.log, err = e.deps.Decisions.Open(e.deps.Policy, path, e.spec.DecisionLog, e.deps.Credentials)
	return err
}

func (e *Engine) subscribe() error {
	if e.deps.Bundles == nil {
		return errors.New("opa.bundles: this program fetches no bundles; use modules")
	}
	e.mu.Lock() // the first change may come before the last subscription
	defer e.mu.Unlock()
	for i := range e.spec.Bundles {
		s, err := e.deps.Bundles.Subscribe(e.deps.Policy, &e.spec.Bundles[i], rego.Version(e.spec), e.deps.Data, e.refresh)
		if err != nil {
			return fmt.Errorf("opa.bundles[%d].%w", i, err)
		}
		e.bundles = append(e.bundles, s)
	}
	return nil
}

// refresh compiles what there is now. It is all or nothing: a generation that doesn't compile changes
// nothing, and is reported.
func (e *Engine) refresh() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	contents := make([]*rego.Bundle, len(e.bundles))
	for i, s := range e.bundles {
		if contents[i] = s.Current(); contents[i] == nil {
			return
		}
	}
	compiled, err := rego.Compile(e.spec, e.deps.Data, contents...)
	if err == nil {
		e.current.Store(compiled)
	}
	for _, s := range e.bundles {
		s.Report(e.current.Load() != nil, err)
	}
}

// Close ends the fetching of bundles. Requests may still be decided.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	subscriptions := e.bundles
	e.mu.Unlock()
	for _, s := range subscriptions {
		s.Release()
	}
}

// Decide is as [rego.Policy.Decide], or [ErrNoBundle].
func (e *Engine) Decide(ctx context.Context, r *exchange.Request, caller *identity.Identity) (rego.Decision, error) {
	p := e.current.Load()
	if p == nil {
		return rego.Decision{}, ErrNoBundle
	}
	if e.log == nil {
		return p.Decide(ctx, r, caller)
	}
	start := time.Now()
	outcome, err := p.Evaluate(ctx, r, caller)
	e.log.Log(decisionlog.Event{
		Time: start, Took: time.Since(start), RequestID: r.Head().ID,
		Input: outcome.Input, Result: outcome.Result, Err: err, Cached: outcome.Cached,
	}, size(r))
	return outcome.Decision, err
}

// size is about what an input keeps in memory: header lines are bounded by the proxy, a body may be large.
func size(r *exchange.Request) int {
	const perRequest, perByte = 4 << 10, 4
	return perRequest + perByte*max(int(r.Head().Size), 0)
}
