package emulate

import (
	"regexp"
	"strconv"
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
	case r.may(op, name) && (op == opRemove || validPseudo(name, value)):
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

// validPseudo: of what would break the message itself there are rules without configuration.
func validPseudo(name, value string) bool {
	switch name {
	case ":status":
		code, err := strconv.Atoi(value)
		return err == nil && code >= 200
	case ":scheme":
		return value != "" && strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") == ""
	}
	return true
}

func matches(m *matcherv3.RegexMatcher, name string) bool {
	if m.GetRegex() == "" {
		return false
	}
	re, err := regexp.Compile(`\A(?:` + m.GetRegex() + `)\z`)
	return err == nil && re.MatchString(name)
}
