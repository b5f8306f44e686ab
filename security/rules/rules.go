// Package rules decides by what a request is and who sends it: an ordered list of rules, the first that
// matches wins.
//
// Where a request can be read in more than one way, a rule that denies matches if any reading does, a
// rule that allows only if all do. What can't be known counts the same way: a deny rule about it matches,
// an allow rule doesn't. So a doubt never lets a request pass that the rules would stop.
package rules

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
)

// maxRules, maxCIDRs and maxValues bound what one policy may make every request walk through (S43).
const (
	maxRules  = 1000
	maxCIDRs  = 10000
	maxValues = 10000
)

// Options are what rules need to know of the policy they belong to.
type Options struct {
	// Providers are the names of the policy's JWT providers.
	Providers []string
	// Owned reports whether the policy itself writes the header, in any spelling of its name: rules see
	// what the upstream will see, never what the client sent under that name. nil: it writes none.
	Owned func(name string) bool
	// Locator knows where addresses are; nil: no rule asks.
	Locator *geo.Locator
}

// Input is one request, authenticated.
type Input struct {
	Request *exchange.Request
	// Caller is nil for an anonymous one.
	Caller *identity.Identity
	// Set are the headers that authentication writes.
	Set []exchange.Field
}

// Rules is a compiled rule list. It is immutable and safe for concurrent use.
type Rules struct {
	rules        []rule
	defaultAllow bool
	owned        func(name string) bool
	locator      *geo.Locator
	expressions  bool // some rule has one
}

type rule struct {
	name       string
	allow      bool
	conditions []condition
}

// condition is one part of a rule; all of a rule's must match. allow says how doubts count.
type condition interface {
	judge(e *evaluation, allow bool) answer
}

// answer is what a condition knows about a request, in the order of its weight for a rule: the least
// answer of its conditions is the rule's.
type answer int

const (
	no answer = iota
	unknown
	yes
)

func answerOf(matches bool) answer {
	if matches {
		return yes
	}
	return no
}

// evaluation is one request's way through the rules.
type evaluation struct {
	*Input

	ctx   context.Context //nolint:containedctx // lives as long as the call of Decide it belongs to
	owned func(name string) bool
	paths paths

	locator *geo.Locator
	place   *geo.Place // of the client; nil: nobody has asked yet
}

// Compile checks and compiles spec. The error names the rule and says what to write instead.
func Compile(spec *config.Authorization, options Options) (*Rules, error) {
	if len(spec.Rules) > maxRules {
		return nil, fmt.Errorf("authorization.rules: %d rules, at most %d are supported", len(spec.Rules), maxRules)
	}
	out, c := &Rules{defaultAllow: spec.DefaultAllow, owned: options.Owned, locator: options.Locator}, compiler{options: options}
	for i := range spec.Rules {
		compiled, err := c.rule(&spec.Rules[i])
		if err != nil {
			return nil, fmt.Errorf("authorization.rules[%d].%w", i, err)
		}
		out.rules = append(out.rules, compiled)
		out.expressions = out.expressions || spec.Rules[i].CEL != ""
	}
	return out, nil
}

// compiler counts over all rules of a policy.
type compiler struct {
	options       Options
	cidrs, values int
}

func (c *compiler) rule(spec *config.Rule) (rule, error) {
	out := rule{name: spec.Name, allow: spec.Allow}
	// The cheap ones come first; the order changes nothing else.
	for _, compile := range []func(*config.Rule) ([]condition, error){c.addresses, c.methods, c.path, c.headers, c.token, c.locations, c.expression} {
		conditions, err := compile(spec)
		if err != nil {
			return rule{}, err
		}
		out.conditions = append(out.conditions, conditions...)
	}
	return out, nil
}

// count refuses lists that are empty, for they would match nothing, and what is too much altogether.
func (c *compiler) count(values []string) error {
	c.values += len(values)
	switch {
	case len(values) == 0:
		return errors.New("is empty; name at least one value")
	case c.values > maxValues:
		return fmt.Errorf("the policy's rules have more than %d values", maxValues)
	}
	return nil
}

// Decide returns the verdict and the name of the rule that made it, "" for the default. Expressions that
// aren't through when ctx ends count as unknown.
func (r *Rules) Decide(ctx context.Context, in Input) (allow bool, by string) {
	if r.expressions {
		limited, cancel := context.WithTimeout(ctx, maxExpressionTime)
		defer cancel()
		ctx = limited
	}
	e := evaluation{Input: &in, ctx: ctx, owned: r.owned, locator: r.locator}
	for i := range r.rules {
		if r.rules[i].matches(&e) {
			return r.rules[i].allow, r.rules[i].name
		}
	}
	return r.defaultAllow, ""
}

func (r *rule) matches(e *evaluation) bool {
	found := yes
	for _, c := range r.conditions {
		if found = min(found, c.judge(e, r.allow)); found == no {
			return false
		}
	}
	return found == yes || !r.allow
}
