package kubestatus

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// Types and reasons that kinds share.
const (
	typeAccepted         = "Accepted"
	typeResolvedRefs     = "ResolvedRefs"
	typeProgrammed       = "Programmed"
	typeConflicted       = "Conflicted"
	typePartiallyInvalid = "PartiallyInvalid"
	typeWarning          = "Warning"
	typeOverridden       = "Overridden"
	typeAggregated       = "Aggregated"

	reasonInvalid     = "Invalid"
	reasonPending     = "Pending"
	reasonDeprecated  = "DeprecatedField"
	reasonUnsupported = "UnsupportedValue"
)

// pendingMessage stands where only a running gateway could say more.
const pendingMessage = "not known yet: only Envoy's answer tells whether it is programmed"

// maxMessage is the limit of metav1.Condition.
const maxMessage = 32768

// statement is one condition under construction: what was said of one type.
type statement struct {
	kind     string
	faults   []status.Condition
	positive []status.Condition
}

// gather groups what was said by type, in the order of said.
func gather(said []status.Condition) []*statement {
	var all []*statement
	at := map[string]*statement{}
	for _, c := range said {
		s := at[c.Type]
		if s == nil {
			s = &statement{kind: c.Type}
			at[c.Type] = s
			all = append(all, s)
		}
		if c.Fault() {
			s.faults = append(s.faults, c)
		} else {
			s.positive = append(s.positive, c)
		}
	}
	return all
}

// find returns the statement of a type, nil if there is none.
func find(all []*statement, kind string) *statement {
	for _, s := range all {
		if s.kind == kind {
			return s
		}
	}
	return nil
}

// faulty returns the conditions that say so of a type.
func faulty(all []*statement, kind string) []status.Condition {
	if s := find(all, kind); s != nil {
		return s.faults
	}
	return nil
}

// condition makes one of all that was said: a fault beats what is well, several faults are all told, under
// the first one's reason.
func (s *statement) condition(generation int64) metav1.Condition {
	said := s.faults
	if len(said) == 0 {
		said = s.positive
	}
	// The order of said is that of its texts, not of what caused them.
	said = slices.Clone(said)
	slices.SortStableFunc(said, func(a, b status.Condition) int { return a.Rule - b.Rule })
	messages := make([]string, 0, len(said))
	for _, c := range said {
		if text := ruleText(c); text != "" && !slices.Contains(messages, text) {
			messages = append(messages, text)
		}
	}
	return condition(s.kind, boolStatus(said[0].True), said[0].Reason, strings.Join(messages, "; "), generation)
}

func boolStatus(is bool) metav1.ConditionStatus {
	if is {
		return metav1.ConditionTrue
	}
	return metav1.ConditionFalse
}

func condition(kind string, is metav1.ConditionStatus, reason, message string, generation int64) metav1.Condition {
	if message == "" {
		message = defaultMessage(kind, is)
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
	}
	return metav1.Condition{Type: kind, Status: is, Reason: reason, Message: message, ObservedGeneration: generation}
}

func defaultMessage(kind string, is metav1.ConditionStatus) string {
	switch {
	case kind == typeAccepted && is == metav1.ConditionTrue:
		return "accepted"
	case kind == typeResolvedRefs && is == metav1.ConditionTrue:
		return "every reference leads to an object that may be used"
	case kind == typeProgrammed && is == metav1.ConditionTrue:
		return "Envoy has accepted and activated it"
	case kind == typeConflicted && is == metav1.ConditionFalse:
		return "no other listener is in the way"
	}
	return ""
}

// ruleText is the message with the rule that it is about, unless it names that itself.
func ruleText(c status.Condition) string {
	if c.Rule == 0 || strings.Contains(c.Message, "rules[") || strings.Contains(c.Message, "/rule/") {
		return c.Message
	}
	return "rules[" + itoa(c.Rule-1) + "]." + c.Message
}

// render makes the conditions: first those of the order, then the others as they were said.
func render(all []*statement, generation int64, order ...string) []metav1.Condition {
	var out []metav1.Condition
	for _, kind := range order {
		if s := find(all, kind); s != nil {
			out = append(out, s.condition(generation))
		}
	}
	rest := slices.DeleteFunc(slices.Clone(all), func(s *statement) bool { return slices.Contains(order, s.kind) })
	slices.SortFunc(rest, func(a, b *statement) int { return strings.Compare(a.kind, b.kind) })
	for _, s := range rest {
		out = append(out, s.condition(generation))
	}
	return out
}
