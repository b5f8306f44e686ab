package envoy

import (
	"regexp"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// refusal answers 500 wherever a match with a bad path or expression may have been meant to match. To
// leave it out would hand its requests to a wider rule, whose policy may ask for less.
func (b *Builder) refusal(rule *Rule, m *gatewayv1.HTTPRouteMatch, index int) Entry {
	wide := soundPart(m)
	match, _ := routeMatch(wide)
	refused := *rule
	refused.Fault, refused.FaultStatus = "a match can't be expressed", 500
	return newEntry(order(m, index), marshal(b.route(&refused, wide, match)))
}

// anything is the expression for every value of a field that is there.
const anything = ".*"

// soundPart widens conditions that can't be expressed. A field must still be there; of a path's expression
// the text before its first operator stays.
func soundPart(m *gatewayv1.HTTPRouteMatch) *gatewayv1.HTTPRouteMatch {
	wide := *m
	wide.Headers = slices.Clone(m.Headers)
	for i, h := range wide.Headers {
		if h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression && !compiles(h.Value) {
			wide.Headers[i].Value = anything
		}
	}
	wide.QueryParams = slices.Clone(m.QueryParams)
	for i, q := range wide.QueryParams {
		if q.Type != nil && *q.Type == gatewayv1.QueryParamMatchRegularExpression && !compiles(q.Value) {
			wide.QueryParams[i].Value = anything
		}
	}
	if kind, value := pathOf(m.Path); kind == gatewayv1.PathMatchRegularExpression && !compiles(value) {
		expression := regexp.QuoteMeta(literalPrefix(value)) + ".*"
		wide.Path = &gatewayv1.HTTPPathMatch{Type: &kind, Value: &expression}
	}
	if badPath(m.Path) != "" {
		kind, value := gatewayv1.PathMatchPathPrefix, "/"+strings.TrimLeft(*m.Path.Value, "/")
		value = validPath.FindString(value)
		wide.Path = &gatewayv1.HTTPPathMatch{Type: &kind, Value: &value}
	}
	return &wide
}

func compiles(expression string) bool {
	_, err := regexp.Compile(expression)
	return err == nil
}

// literalPrefix returns what everything that the expression was meant for begins with.
func literalPrefix(expression string) string {
	end := strings.IndexAny(expression, `\.+*?()|[]{}^$`)
	switch {
	case end < 0:
		return expression
	case hasAlternatives(expression):
		return ""
	case end > 0 && strings.IndexByte("*?{", expression[end]) >= 0:
		end-- // the operator makes the character before it optional
	}
	return expression[:end]
}

// hasAlternatives reports whether a | may stand outside of every group. Of an expression that doesn't
// parse one can't be sure where groups end: any | counts that doesn't follow more ( than ).
func hasAlternatives(expression string) bool {
	depth := 0
	for i := range len(expression) {
		switch expression[i] {
		case '(':
			depth++
		case ')':
			depth--
		case '|':
			if depth <= 0 {
				return true
			}
		}
	}
	return depth != 0 && strings.Contains(expression, "|")
}
