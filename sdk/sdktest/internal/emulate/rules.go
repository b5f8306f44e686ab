package emulate

import (
	"regexp"
	"strings"

	mutationrulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

type operation uint8

const (
	opSet operation = iota
	opAppend
	opRemove
)

type ruling uint8

const (
	ignored ruling = iota
	allowed
	forbidden
)

// rules are HeaderMutationRules.
type rules struct {
	*mutationrulesv3.HeaderMutationRules
}

func (r rules) check(op operation, name, value string) ruling {
	switch {
	case r.may(op, name):
		if !validPseudo(name, value) {
			return forbidden
		}
		return allowed
	case r.GetDisallowIsError().GetValue():
		return forbidden
	}
	return ignored
}

func (r rules) may(op operation, name string) bool {
	if op == opRemove && (strings.HasPrefix(name, ":") || name == "host") {
		return false
	}
	switch {
	case matches(r.GetDisallowExpression(), name):
		return false
	case matches(r.GetAllowExpression(), name):
		return true
	case r.GetDisallowAll().GetValue():
		return false
	case routing(name) && !r.GetAllowAllRouting().GetValue():
		return false
	case strings.HasPrefix(name, ":") && r.GetDisallowSystem().GetValue():
		return false
	case strings.HasPrefix(name, "x-envoy") && !r.GetAllowEnvoy().GetValue():
		return false
	}
	return true
}

// routing headers change where a request goes; :path isn't among them.
func routing(name string) bool {
	switch name {
	case "host", ":authority", ":scheme", ":method":
		return true
	}
	return false
}

// validPseudo: Envoy refuses a status that is none.
func validPseudo(name, value string) bool {
	if name != ":status" {
		return true
	}
	return len(value) == 3 && value >= "100" && value <= "999"
}

func matches(m *matcherv3.RegexMatcher, name string) bool {
	if m.GetRegex() == "" {
		return false
	}
	re, err := regexp.Compile(`\A(?:` + m.GetRegex() + `)\z`)
	return err == nil && re.MatchString(name)
}
