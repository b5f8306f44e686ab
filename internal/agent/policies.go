package agent

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// linger is how long a policy stays loaded after its last reference: requests that Envoy routed before
// it took the newer configuration still ask for it.
const linger = 60 * time.Second

// policies holds what the authorizer enforces, by reference. Look-ups are lock-free; loading is not
// concurrent with itself.
type policies struct {
	deps    policy.Deps
	log     *slog.Logger
	current atomic.Pointer[map[string]*loaded]
	mu      sync.Mutex
}

// loaded is one compiled policy with the data it was compiled from.
type loaded struct {
	policy  *policy.Policy
	spec    *config.Policy
	data    config.Data
	seal    string
	leaving time.Time // zero while referred to
}

func newPolicies(deps policy.Deps, log *slog.Logger) *policies {
	p := &policies{deps: deps, log: log}
	p.current.Store(&map[string]*loaded{})
	return p
}

// choose returns the authorizer of a request; nil for an unknown reference, which is denied.
func (p *policies) choose(r *exchange.Request) exchange.Authorizer {
	ref, ok := r.Extension(envoy.ExtensionPolicy)
	if !ok {
		return nil
	}
	if l, ok := (*p.current.Load())[ref]; ok {
		return l
	}
	return nil
}

// Check decides, and puts the seal on what may pass: the proof that Envoy's last filter demands.
func (l *loaded) Check(ctx context.Context, r *exchange.Request) (exchange.Verdict, error) {
	verdict, err := l.policy.Check(ctx, r)
	if err != nil || !verdict.Allow {
		return verdict, err
	}
	metadata := make(map[string]any, len(verdict.Metadata)+1)
	maps.Copy(metadata, verdict.Metadata)
	metadata[envoy.SealKey] = l.seal
	verdict.Metadata = metadata
	return verdict, nil
}

// load compiles what snap refers to and puts it in force, beside what is already loaded: until Envoy
// has the new configuration it asks for the old policies. It returns why policies can't be used; those
// deny with 503.
func (p *policies) load(snap *snapshot.Snapshot, now time.Time) map[string]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := *p.current.Load()
	next := maps.Clone(old)
	faults := map[string]error{}
	inForce := make(map[string]bool, len(snap.Policies))
	var replaced []*loaded
	for _, want := range snap.Policies {
		inForce[want.Ref] = true
		have := old[want.Ref]
		if have != nil && have.seal == want.Seal && sameData(have, want.Spec, snap.Data) {
			next[want.Ref] = have.staying()
		} else {
			next[want.Ref] = p.compile(want, snap.Data)
			replaced = append(replaced, have)
		}
		if fault := next[want.Ref].policy.Fault(); fault != "" {
			faults[want.Ref] = &PolicyError{Policy: want.Spec.Name, Message: fault}
		}
	}
	for ref, l := range next {
		if !inForce[ref] && l.leaving.IsZero() {
			next[ref] = l.leavingAt(now.Add(linger))
		}
	}
	p.current.Store(&next)
	for _, l := range replaced {
		if l != nil {
			l.policy.Close()
		}
	}
	return faults
}

// PolicyError says why a policy can't be enforced; its routes answer 503.
type PolicyError struct{ Policy, Message string }

func (e *PolicyError) Error() string { return "SecurityPolicy " + e.Policy + ": " + e.Message }

func (p *policies) compile(want snapshot.Policy, data config.Data) *loaded {
	deps := p.deps
	deps.Data = data
	compiled, err := policy.Compile(want.Spec, deps)
	if err != nil {
		p.log.Error("policy can't be enforced; its routes answer 503", "policy", want.Spec.Name, "error", err)
		compiled = policy.Broken(want.Spec, deps, err)
	}
	return &loaded{policy: compiled, spec: want.Spec, data: relevant(want.Spec, data), seal: want.Seal}
}

// relevant picks what spec refers to.
func relevant(spec *config.Policy, data config.Data) config.Data {
	out := config.Data{}
	for source := range spec.Sources {
		if text, ok := data[source.Ref]; ok && source.Ref != "" {
			out[source.Ref] = text
		}
	}
	return out
}

// sameData reports whether a policy of the same reference was compiled from the same data.
func sameData(have *loaded, spec *config.Policy, data config.Data) bool {
	return maps.EqualFunc(have.data, relevant(spec, data), bytes.Equal)
}

func (l *loaded) staying() *loaded {
	if l.leaving.IsZero() {
		return l
	}
	kept := *l
	kept.leaving = time.Time{}
	return &kept
}

func (l *loaded) leavingAt(t time.Time) *loaded {
	gone := *l
	gone.leaving = t
	return &gone
}

// sweep drops policies whose time is over.
func (p *policies) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := maps.Clone(*p.current.Load())
	var dropped []*loaded
	for ref, l := range next {
		if !l.leaving.IsZero() && l.leaving.Before(now) {
			delete(next, ref)
			dropped = append(dropped, l)
		}
	}
	if len(dropped) == 0 {
		return
	}
	p.current.Store(&next)
	for _, l := range dropped {
		l.policy.Close()
	}
}

// extend restarts the clock of leaving policies: it runs from the moment Envoy has let go of them.
func (p *policies) extend(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := maps.Clone(*p.current.Load())
	for ref, l := range next {
		if !l.leaving.IsZero() {
			next[ref] = l.leavingAt(now.Add(linger))
		}
	}
	p.current.Store(&next)
}
