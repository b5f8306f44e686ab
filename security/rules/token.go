package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/security/claim"
	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// token is a comparison of what a verified token says.
type token struct {
	provider string
	claims   []claimMatch
	scopes   []string
}

type claimMatch struct {
	path   claim.Path
	array  bool
	values []string
}

func (c *compiler) token(spec *config.Rule) ([]condition, error) {
	if spec.JWT == nil {
		return nil, nil
	}
	out, err := c.compileToken(spec.JWT)
	if err != nil {
		return nil, fmt.Errorf("principal.jwt.%w", err)
	}
	return []condition{out}, nil
}

func (c *compiler) compileToken(spec *config.JWTMatch) (*token, error) {
	switch {
	case !slices.Contains(c.options.Providers, spec.Provider):
		return nil, fmt.Errorf("provider: the policy has no JWT provider %q; add it under jwt.providers", spec.Provider)
	case len(spec.Claims)+len(spec.Scopes) == 0:
		return nil, errors.New("claims: neither claims nor scopes are given")
	}
	out := &token{provider: spec.Provider, scopes: spec.Scopes}
	c.values += len(spec.Scopes)
	for _, scope := range spec.Scopes {
		if scope == "" || strings.Contains(scope, " ") {
			return nil, fmt.Errorf("scopes: %q is no scope; write each on its own, without spaces", scope)
		}
	}
	for i, m := range spec.Claims {
		path, err := claim.Parse(m.Claim)
		if err != nil {
			return nil, fmt.Errorf("claims[%d].name: %w", i, err)
		}
		if err := c.count(m.Values); err != nil {
			return nil, fmt.Errorf("claims[%d].values: %w", i, err)
		}
		out.claims = append(out.claims, claimMatch{path: path, array: m.Array, values: m.Values})
	}
	return out, nil
}

// judge can't know what a caller without a token would have to show: who leaves it out must not pass a
// rule that would have denied. A token of another provider is an answer.
func (t *token) judge(e *evaluation, allow bool) answer {
	if e.Caller == nil || e.Caller.Provider == "" {
		return unknown
	}
	if e.Caller.Provider != t.provider {
		return no
	}
	for i := range t.claims {
		if !t.claims[i].match(e.Caller.Claims, allow) {
			return no
		}
	}
	for _, scope := range t.scopes {
		if !hasScope(e.Caller.Claims["scope"], scope) && !hasScope(e.Caller.Claims["scp"], scope) {
			return no
		}
	}
	return yes
}

// match demands the claim's type for an allow rule; a deny rule takes the value in whatever form.
func (m *claimMatch) match(claims map[string]any, allow bool) bool {
	value, found := m.path.Lookup(claims)
	if !found {
		return false
	}
	if !allow {
		return m.anywhere(value) || m.anywhere(m.path.Literal(claims))
	}
	if !m.array {
		text, ok := value.(string)
		return ok && slices.Contains(m.values, text)
	}
	list, ok := value.([]any)
	return ok && slices.ContainsFunc(list, func(element any) bool {
		text, ok := element.(string)
		return ok && slices.Contains(m.values, text)
	})
}

func (m *claimMatch) anywhere(value any) bool {
	switch value := value.(type) {
	case []any:
		return slices.ContainsFunc(value, m.anywhere)
	case string:
		return slices.Contains(m.values, value)
	case json.Number:
		return slices.Contains(m.values, value.String())
	case bool:
		return slices.Contains(m.values, strconv.FormatBool(value))
	}
	return false
}

// hasScope reads both forms in use: RFC 6749 section 3.3 and arrays.
func hasScope(value any, scope string) bool {
	switch value := value.(type) {
	case string:
		for known := range strings.SplitSeq(value, " ") {
			if known == scope {
				return true
			}
		}
	case []any:
		return slices.Contains(value, any(scope))
	}
	return false
}
