package policy

import "context"

type ruleObserver struct{}

// ObserveRule returns a context that has Check tell which rule of spec.authorization decides: its name, or
// "" where none matches and the default does. It isn't told where authentication ends the request before.
func ObserveRule(ctx context.Context, observe func(rule string)) context.Context {
	return context.WithValue(ctx, ruleObserver{}, observe)
}

func tellRule(ctx context.Context, rule string) {
	if observe, ok := ctx.Value(ruleObserver{}).(func(string)); ok {
		observe(rule)
	}
}
