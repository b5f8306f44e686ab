package standalone

import (
	"log/slog"
	"slices"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// report tells what is wrong, each thing once for as long as it lasts.
type report struct {
	log  *slog.Logger
	told map[string]bool
}

func newReport(log *slog.Logger) *report { return &report{log: log, told: map[string]bool{}} }

func (r *report) tell(set *resource.Set, problems []resource.Problem, conditions []status.Condition, faults map[string]error) {
	now := map[string]bool{}
	for _, text := range Faults(set, problems, conditions) {
		now[text] = true
		if !r.told[text] {
			r.log.Error(text)
		}
	}
	for _, err := range faults {
		now[err.Error()] = true // the agent has logged it
	}
	for _, w := range set.AllWarnings() {
		now[w.String()] = true
		if !r.told[w.String()] {
			r.log.Warn(w.String())
		}
	}
	r.told = now
}

// Faults lists what is wrong, a line each: first what can't be read, then what can't be done.
func Faults(set *resource.Set, problems []resource.Problem, conditions []status.Condition) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.String())
	}
	for _, c := range conditions {
		if !c.Fault() {
			continue
		}
		if set.Invalid(c.Object) != "" {
			continue // the problem itself is in the list
		}
		origin, _ := set.Origin(c.Object)
		field := c.Type + "=" + map[bool]string{true: "True", false: "False"}[c.True] + "/" + c.Reason
		if c.Ancestor != "" {
			field = c.Ancestor + ": " + field
		}
		all = append(all, resource.Problem{Origin: origin, Key: c.Object, Field: field, Message: c.Message}.String())
	}
	return slices.Compact(all)
}
