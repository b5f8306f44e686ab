package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

type methods []string

func (c *compiler) methods(spec *config.Rule) ([]condition, error) {
	if len(spec.Methods) == 0 {
		return nil, nil
	}
	if err := c.count(spec.Methods); err != nil {
		return nil, fmt.Errorf("operation.methods: %w", err)
	}
	for _, method := range spec.Methods {
		if !exchange.IsToken(method) || method != strings.ToUpper(method) {
			return nil, fmt.Errorf("operation.methods: %q is no method; write it like GET", method)
		}
	}
	return []condition{methods(spec.Methods)}, nil
}

// judge knows that methods are case-sensitive (RFC 9110 section 9.1) and that some servers don't.
func (m methods) judge(e *evaluation, allow bool) answer {
	method := e.Request.Method()
	if allow {
		return answerOf(slices.Contains(m, method))
	}
	return answerOf(slices.ContainsFunc(m, func(known string) bool { return strings.EqualFold(known, method) }))
}
