package standalone

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// pipeline takes every new state of the input to the agent: objects, and what OpenID providers say about
// themselves. Safe for concurrent use.
type pipeline struct {
	translator *translator.Translator
	agent      *agent.Agent
	providers  *discovery.Fetcher
	report     *report
	statuses   *statuses
	log        *slog.Logger

	mu       sync.Mutex
	set      *resource.Set // nil: none yet
	problems []resource.Problem
	last     *translator.Result
}

// apply takes objects.
func (p *pipeline) apply(set *resource.Set, problems []resource.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set != nil {
		set = set.WithProviders(p.set.Providers)
	}
	p.set, p.problems = set, problems
	p.translate()
}

// described takes note that providers' descriptions have changed.
func (p *pipeline) described() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set != nil {
		p.translate()
	}
}

func (p *pipeline) translate() {
	start := time.Now()
	first := p.last == nil
	p.last = p.translator.Translate(p.set, p.last)
	// Whose descriptions are needed doesn't depend on what they say.
	if documents := p.providers.Want(p.last.Issuers()); !maps.Equal(documents, p.set.Providers) {
		p.set = p.set.WithProviders(documents)
		p.last = p.translator.Translate(p.set, p.last)
	}
	faults := p.agent.Apply(p.last.Snapshot)
	p.report.tell(p.set, p.problems, p.last.Conditions, faults)
	p.statuses.update(p.set, p.problems, p.last, faults)
	level := slog.LevelInfo
	if first {
		level = slog.LevelDebug
	}
	p.log.Log(context.Background(), level, "configuration applied",
		"listeners", len(p.last.Snapshot.Resources[snapshot.Listener]), "policies", len(p.last.Snapshot.Policies),
		"reused", p.last.Reused, "took", time.Since(start).Round(10*time.Microsecond))
}
