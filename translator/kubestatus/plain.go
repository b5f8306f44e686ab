package kubestatus

import (
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// plainObjects renders kinds whose status is a list of conditions.
func (r *renderer) plainObjects() {
	plain(r, "EnvoyProxy", r.Set.EnvoyProxies)
	plain(r, "HTTPRouteFilter", r.Set.HTTPRouteFilters)
	plain(r, "Backend", r.Set.Backends)
}

func plain[T resource.Object](r *renderer, kind string, table resource.Table[T]) {
	for _, object := range table.All() {
		key := keyOf(kind, object)
		generation := r.generation(key, object)
		said := append(r.said(key), status.Condition{Type: typeAccepted, True: true, Reason: typeAccepted})
		r.add(key, generation, Status{Conditions: render(gather(said), generation, typeAccepted)})
	}
}

// unreadable renders objects that a fault kept out of the set: they would be missing without a word.
func (r *renderer) unreadable() {
	shown := map[resource.Key]bool{}
	for i := range r.out {
		shown[r.out[i].Key()] = true
	}
	said := map[resource.Key][]status.Condition{}
	for _, p := range r.Problems {
		if p.Key.Name == "" || shown[p.Key] || rank(p.Key.Kind) == len(kinds) {
			continue
		}
		if _, there := r.Set.Origin(p.Key); there {
			continue
		}
		message := p.Message
		if p.Field != "" {
			message = p.Field + ": " + message
		}
		said[p.Key] = append(said[p.Key], status.Condition{Type: typeAccepted, Reason: reasonInvalid, Message: message})
	}
	for key, conditions := range said {
		generation := max(r.Generations[key], 1)
		r.add(key, generation, Status{Conditions: render(gather(conditions), generation)})
	}
}

// Untold returns the problems of reading that no status tells: of what can't be identified, of kinds without
// status, and of objects that are used in another form, the last good one or that of another document.
func Untold(set *resource.Set, problems []resource.Problem) []resource.Problem {
	var all []resource.Problem
	for _, p := range problems {
		_, there := set.Origin(p.Key)
		if p.Key.Name == "" || rank(p.Key.Kind) == len(kinds) || there && set.Invalid(p.Key) == "" {
			all = append(all, p)
		}
	}
	return all
}
