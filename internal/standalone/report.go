package standalone

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"

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
	for _, n := range Notes(set) {
		now[n.String()] = true
		if !r.told[n.String()] {
			r.log.Info(n.String())
		}
	}
	r.told = now
}

// Notes tells what is skipped, since it is somebody else's: kinds that no gateway is made of, and classes
// of other controllers.
func Notes(set *resource.Set) []resource.Warning {
	all := set.Notes()
	for _, class := range set.GatewayClasses.All() {
		if slices.Contains(ControllerNames(), string(class.Spec.ControllerName)) {
			continue
		}
		key := resource.Key{Kind: "GatewayClass", Name: class.Name}
		origin, _ := set.Origin(key)
		all = append(all, resource.Warning{
			Origin: origin, Key: key, Field: "spec.controllerName",
			Message: fmt.Sprintf("%s is another controller; Gateways of this class are skipped", class.Spec.ControllerName),
		})
	}
	return all
}

// Faults lists what is wrong, a line each: first what can't be read, then what can't be done.
func Faults(set *resource.Set, problems []resource.Problem, conditions []status.Condition) []string {
	faults := faultsOf(set, problems, conditions)
	all := make([]string, len(faults))
	for i, f := range faults {
		all[i] = f.String()
	}
	return slices.Compact(all)
}

// faultsOf lists what Faults prints.
func faultsOf(set *resource.Set, problems []resource.Problem, conditions []status.Condition) []resource.Problem {
	all := slices.Clone(problems)
	for _, c := range conditions {
		if !c.Fault() {
			continue
		}
		// The problem of an invalid object is in the list already.
		if invalid := set.Invalid(c.Object); invalid == "" || !strings.Contains(c.Message, invalid) {
			all = append(all, problem(set, c))
		}
	}
	return all
}

// problem puts a condition at the place of its object in the input.
func problem(set *resource.Set, c status.Condition) resource.Problem {
	origin, _ := set.Origin(c.Object)
	field, message := locus(c)
	return resource.Problem{Origin: origin, Key: c.Object, Field: field, Message: message}
}

// pathForm is a field at the head of a message, such as spec.jwt.providers[0].name or backendRefs.
var pathForm = regexp.MustCompile(`^(?:spec\.)?([a-z][A-Za-z0-9]*(?:\[[^\]]*\])?(?:\.[a-zA-Z][A-Za-z0-9]*(?:\[[^\]]*\])?)*): `)

// locus finds the field that a condition is about: what it is relative to, and what its message names.
func locus(c status.Condition) (field, message string) {
	message = c.Message
	rest := ""
	if found := pathForm.FindStringSubmatch(message); found != nil {
		rest, message = found[1], message[len(found[0]):]
	}
	base := ""
	switch {
	case (c.Object.Kind == "Gateway" || c.Object.Kind == "ListenerSet") && c.Ancestor != "":
		base = "spec.listeners[" + c.Ancestor + "]"
	case c.Rule > 0:
		base = "spec.rules[" + strconv.Itoa(c.Rule-1) + "]"
		name := fmt.Sprintf("httproute/%s/%s/rule/%d: ", c.Object.Namespace, c.Object.Name, c.Rule-1)
		if trimmed, ok := strings.CutPrefix(message, name); ok {
			return locus(status.Condition{Object: c.Object, Rule: c.Rule, Message: trimmed})
		}
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, base[len("spec."):]), ".")
	case c.Parent > 0:
		base = "spec.parentRefs[" + strconv.Itoa(c.Parent-1) + "]"
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, "parentRefs"), ".")
	case c.Ancestor != "": // a policy at one of its targets
		base = "spec.targetRefs"
	case rest != "":
		base = "spec"
	}
	if base != "" && rest != "" {
		base += "."
	}
	return base + rest, message
}
