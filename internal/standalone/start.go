package standalone

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// acceptedFile is the last configuration that Envoy accepted, in the state directory.
const acceptedFile = "accepted.json"

// start puts the first configuration in force: what the source says or, if a part of it can't be read, what
// Envoy last accepted. What can't be read may be what protects the rest.
func (g *gateway) start() error {
	set, problems, err := g.source.Load()
	if err == nil {
		if err = g.whole(set, problems); err == nil {
			g.pipeline.apply(set, problems)
			return nil
		}
		g.report.tell(set, problems, nil, nil)
	}
	accepted, damage := agent.Accepted(g.dir.Path(acceptedFile))
	if accepted == nil {
		return errors.Join(fmt.Errorf("%w: %w", ErrInput, err), damage)
	}
	g.log.Warn("the source can't be read; the last accepted configuration serves until it can", "error", err)
	g.statuses.servesAccepted(err)
	g.waiting = true
	g.agent.Apply(accepted)
	return nil
}

// changed takes a new state of the source, unless the last accepted configuration serves and a part of the
// source is still unknown.
func (g *gateway) changed(set *resource.Set, problems []resource.Problem) {
	if g.waiting {
		if err := g.whole(set, problems); err != nil {
			g.report.tell(set, problems, nil, nil)
			g.statuses.servesAccepted(err)
			return
		}
		g.waiting = false
	}
	g.pipeline.apply(set, problems)
}

// whole says why what the source gave can't be a first configuration.
func (g *gateway) whole(set *resource.Set, problems []resource.Problem) error {
	if lost := g.source.Lost(problems); len(lost) > 0 {
		all := make([]error, len(lost))
		for i, p := range lost {
			all[i] = fmt.Errorf("%s; correct or remove it, since what it holds may protect the rest", p)
		}
		return errors.Join(all...)
	}
	if empty(set) {
		return fmt.Errorf("no manifest in %s", strings.Join(g.config.Paths, ", "))
	}
	return nil
}

// empty reports whether nothing was read. Every namespaced object brings its namespace with it.
func empty(set *resource.Set) bool { return set.Namespaces.Len() == 0 && set.GatewayClasses.Len() == 0 }
