package agent

import (
	"bytes"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// linger is how long a policy stays loaded after its last reference: requests that Envoy routed before
// it took the newer configuration still ask for it.
const linger = 60 * time.Second

// policies holds what the authorizer enforces, by reference. Look-ups are lock-free.
type policies struct {
	deps   policy.Deps
	log    *slog.Logger
	loaded sync.Map // of *loaded by reference

	mu      sync.Mutex // guards what follows, and changes of loaded
	wanted  []snapshot.Policy
	leaving map[string]time.Time // when what nothing refers to any more is dropped
	faults  map[string]error
}

// loaded is one compiled policy.
type loaded struct {
	policy *policy.Policy
	of     snapshot.Policy
}

func newPolicies(deps policy.Deps, log *slog.Logger) *policies {
	return &policies{deps: deps, log: log, leaving: map[string]time.Time{}, faults: map[string]error{}}
}

// choose returns the authorizer of a request; nil for an unknown reference, which is denied.
func (p *policies) choose(r *exchange.Request) exchange.Authorizer {
	ref, ok := r.Extension(envoy.ExtensionPolicy)
	if !ok {
		return nil
	}
	if l := p.get(ref); l != nil {
		return l.policy
	}
	return nil
}

// nameOf returns the name of the policy that choose has chosen for a request.
func (p *policies) nameOf(r *exchange.Request) string {
	ref, _ := r.Extension(envoy.ExtensionPolicy)
	if l := p.get(ref); l != nil {
		return l.of.Spec.Name
	}
	return ""
}

func (p *policies) get(ref string) *loaded {
	l, _ := p.loaded.Load(ref)
	found, _ := l.(*loaded)
	return found
}

// load compiles what snap refers to and puts it in force, beside what is already loaded: until Envoy
// has the new configuration it asks for the old policies. It returns why policies can't be used; those
// deny with 503. What is the same as in the snapshot before costs a comparison of pointers.
func (p *policies) load(snap *snapshot.Snapshot, now time.Time) map[string]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	snapshot.PolicyChanges(p.wanted, snap.Policies, func(old, want *snapshot.Policy) {
		if want == nil {
			p.leaving[old.Ref] = now.Add(linger)
			delete(p.faults, old.Ref)
			return
		}
		delete(p.leaving, want.Ref)
		p.take(*want)
	})
	p.wanted = snap.Policies
	return maps.Clone(p.faults)
}

// take puts a policy in force, unless it is already.
func (p *policies) take(want snapshot.Policy) {
	have := p.get(want.Ref)
	if have == nil || have.of.Seal != want.Seal || !maps.EqualFunc(have.of.Data, want.Data, bytes.Equal) {
		l := p.compile(want)
		p.loaded.Store(want.Ref, l)
		if have != nil {
			have.policy.Close()
		}
		have = l
	}
	delete(p.faults, want.Ref)
	if fault := have.policy.Fault(); fault != "" && !want.Spec.Temporary {
		p.faults[want.Ref] = &PolicyError{Policy: want.Spec.Name, Message: fault}
	}
}

// PolicyError says why a policy can't be enforced; its routes answer 503.
type PolicyError struct{ Policy, Message string }

func (e *PolicyError) Error() string { return "SecurityPolicy " + e.Policy + ": " + e.Message }

func (p *policies) compile(want snapshot.Policy) *loaded {
	deps := p.deps
	// The seal on what may pass is the proof that Envoy's last filter demands.
	deps.Data, deps.Metadata = want.Data, map[string]any{envoy.SealKey: want.Seal}
	compiled, err := policy.Compile(want.Spec, deps)
	if err != nil && want.Spec.Temporary {
		compiled = policy.Broken(want.Spec, deps, err) // whoever fetches what it waits for tells of it
	} else if err != nil {
		p.log.Error("policy can't be enforced; its routes answer 503", "policy", want.Spec.Name, "error", err)
		compiled = policy.Broken(want.Spec, deps, err)
	}
	return &loaded{policy: compiled, of: want}
}

// sweep drops policies whose time is over.
func (p *policies) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ref, until := range p.leaving {
		if !until.Before(now) {
			continue
		}
		delete(p.leaving, ref)
		if l, ok := p.loaded.LoadAndDelete(ref); ok {
			l.(*loaded).policy.Close() //nolint:forcetypeassert // nothing else is in the map
		}
	}
}

// extend restarts the clock of leaving policies: it runs from the moment Envoy has let go of them.
func (p *policies) extend(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for ref := range p.leaving {
		p.leaving[ref] = now.Add(linger)
	}
}
