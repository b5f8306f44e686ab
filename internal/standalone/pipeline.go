package standalone

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// pipeline takes every new state of the input to the agent. It is used by one goroutine at a time.
type pipeline struct {
	translator *translator.Translator
	agent      *agent.Agent
	report     *report
	statuses   *statuses
	log        *slog.Logger
	last       *translator.Result
}

func (p *pipeline) apply(set *resource.Set, problems []resource.Problem) {
	start := time.Now()
	result := p.translator.Translate(set, p.last)
	first := p.last == nil
	p.last = result
	faults := p.agent.Apply(result.Snapshot)
	p.report.tell(set, problems, result.Conditions, faults)
	p.statuses.update(set, problems, result, faults)
	level := slog.LevelInfo
	if first {
		level = slog.LevelDebug
	}
	p.log.Log(context.Background(), level, "configuration applied",
		"listeners", len(result.Snapshot.Resources[snapshot.Listener]), "policies", len(result.Snapshot.Policies),
		"reused", result.Reused, "took", time.Since(start).Round(10*time.Microsecond))
}
