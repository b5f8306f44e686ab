package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"sync"

	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
	"github.com/gatehouse-proxy/gatehouse/internal/xds"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// Refusal is a route that Envoy refuses and that answers 503 instead.
type Refusal struct {
	Route string // as in the access log: "httproute/ns/name/rule/0"
	Words string // Envoy's own
}

// quarantine keeps refused routes from taking the rest of their listener along. Envoy refuses a
// RouteConfiguration whole and doesn't say which route it means; so the routes are tried in halves by
// `envoy --mode validate` until the bad ones are alone. They are known by their bytes: a route that is
// edited is tried anew.
type quarantine struct {
	validate func(ctx context.Context, bootstrap []byte) error
	path     string // where it is kept across restarts; "" keeps it in memory
	log      *slog.Logger

	mu   sync.Mutex
	held map[string]envoy.Replacement // by envoy.Piece.Key
}

func newQuarantine(path string, validate func(context.Context, []byte) error, log *slog.Logger) *quarantine {
	q := &quarantine{validate: validate, path: path, log: log, held: map[string]envoy.Replacement{}}
	if path == "" {
		return q
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil, json.Unmarshal(text, &q.held) != nil:
		log.Warn("refused routes of an earlier run can't be read; they will be found again", "path", path, "error", err)
		q.held = map[string]envoy.Replacement{}
	}
	return q
}

// rewrite replaces the refused routes of a snapshot. It returns snap itself if there are none.
func (q *quarantine) rewrite(snap *snapshot.Snapshot) (*snapshot.Snapshot, []Refusal) {
	q.mu.Lock()
	held := maps.Clone(q.held)
	q.mu.Unlock()
	if len(held) == 0 {
		return snap, nil
	}
	out := *snap
	out.Resources = maps.Clone(snap.Resources)
	out.Resources[snapshot.Route] = nil
	var refusals []Refusal
	for _, config := range snap.Resources[snapshot.Route] {
		for _, p := range envoy.Pieces(config) {
			if r, ok := held[p.Key]; ok {
				refusals = append(refusals, Refusal{Route: r.Route, Words: r.Words})
			}
		}
		out.Resources[snapshot.Route] = append(out.Resources[snapshot.Route], envoy.Replace(config, held))
	}
	if len(refusals) == 0 {
		return snap, nil
	}
	return &out, refusals
}

// isolate finds the routes for which Envoy refuses config, and reports whether there are new ones.
func (q *quarantine) isolate(ctx context.Context, config snapshot.Resource) (bool, error) {
	found := map[string]envoy.Replacement{}
	if err := q.search(ctx, envoy.Pieces(config), found); err != nil || len(found) == 0 {
		return false, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	maps.Copy(q.held, found)
	return true, q.save()
}

// search tries pieces together, and in halves if Envoy refuses them.
func (q *quarantine) search(ctx context.Context, pieces []envoy.Piece, found map[string]envoy.Replacement) error {
	if len(pieces) == 0 {
		return nil
	}
	words, err := q.try(ctx, pieces)
	if err != nil || words == "" {
		return err
	}
	if len(pieces) > 1 {
		half := len(pieces) / 2
		return errors.Join(q.search(ctx, pieces[:half], found), q.search(ctx, pieces[half:], found))
	}
	for _, r := range envoy.StandIns(pieces[0], words) {
		if refused, err := q.try(ctx, []envoy.Piece{{Body: r.Body}}); err != nil {
			return err
		} else if refused == "" {
			found[pieces[0].Key] = r
			q.log.Error("Envoy refuses a route; it answers 503 and the others go on", "route", r.Route, "error", words)
			return nil
		}
	}
	return errors.New("no stand-in for route " + pieces[0].Name)
}

// try returns Envoy's words of refusal, "" for routes that it takes.
func (q *quarantine) try(ctx context.Context, pieces []envoy.Piece) (words string, err error) {
	bootstrap, err := envoy.Trial(pieces)
	if err != nil {
		return "", err
	}
	err = q.validate(ctx, bootstrap)
	if rejected, ok := errors.AsType[*proxy.RejectedError](err); ok {
		return rejected.Words, nil
	}
	return "", err
}

// save writes what is held. The caller holds mu.
func (q *quarantine) save() error {
	if q.path == "" {
		return nil
	}
	text, err := json.Marshal(q.held)
	if err != nil {
		return err
	}
	return writeFile(q.path, text)
}

// writeFile replaces a file whole, readable by its owner only.
func writeFile(path string, text []byte) error {
	temporary := path + ".new"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// watchRefusals isolates what Envoy refuses, one RouteConfiguration after the other, until ctx ends.
func (a *Agent) watchRefusals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-a.refused:
			a.handleRefusal(ctx, r)
			a.searches.Add(-1)
		}
	}
}

func (a *Agent) handleRefusal(ctx context.Context, r xds.Rejection) {
	config, ok := a.published(r)
	if !ok {
		return // a newer version is on its way
	}
	found, err := a.quarantine.isolate(ctx, config)
	if err != nil && ctx.Err() == nil {
		a.log.Error("the route that Envoy refuses could not be found; its listener keeps its last good routes", "error", err)
	}
	if found {
		a.republish()
	}
}

// published returns the refused resource if it is still the current one.
func (a *Agent) published(r xds.Rejection) (snapshot.Resource, bool) {
	snap := a.current.Load()
	if snap == nil {
		return snapshot.Resource{}, false
	}
	for _, config := range snap.Resources[snapshot.Route] {
		if config.Name == r.Name && config.Version == r.Version {
			return config, true
		}
	}
	return snapshot.Resource{}, false
}
