package standalone

import (
	"context"
	"encoding/json"
	"time"
)

// waitInForce returns when Envoy has answered for the whole configuration and every listener that it
// took accepts connections. A warming listener is acknowledged too, so the answer alone doesn't do.
func (g *gateway) waitInForce(ctx context.Context) error {
	if err := g.agent.WaitSynced(ctx); err != nil {
		return err
	}
	if g.envoy == nil {
		return nil
	}
	if err := g.envoy.WaitReady(ctx); err != nil {
		return err
	}
	for !g.listening(ctx) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// patience is how long a status waits for an answer of Envoy that is on its way.
const patience = 500 * time.Millisecond

// inForce reports whether what waitInForce waits for holds, or does within a moment.
func (g *gateway) inForce(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return g.waitInForce(ctx) == nil
}

// listening reports whether no listener is warming and the workers run.
func (g *gateway) listening(ctx context.Context) bool {
	page, err := g.envoy.Get(ctx, "/stats?format=json&filter=^listener_manager\\.(total_listeners_warming|workers_started)$")
	if err != nil {
		return false
	}
	var stats struct {
		Stats []struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		} `json:"stats"`
	}
	if json.Unmarshal(page, &stats) != nil {
		return false
	}
	started := false
	for _, s := range stats.Stats {
		switch {
		case s.Name == "listener_manager.total_listeners_warming" && s.Value > 0:
			return false
		case s.Name == "listener_manager.workers_started":
			started = s.Value == 1
		}
	}
	return started
}
