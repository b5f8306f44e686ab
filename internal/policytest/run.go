package policytest

import (
	"context"
	"time"
)

// Outcome is a case that was run.
type Outcome struct {
	Case   *Case
	Faults []string // none: as expected
	Took   time.Duration
	// Result is the engine's.
	Result *Result
}

// Run runs the cases one after another by the engine and, unless it is nil, through Envoy, whose results
// must be the same. The error is one of the runners', not of a case.
func Run(ctx context.Context, cases []Case, engine *Engine, envoy Runner) ([]Outcome, error) {
	all := make([]Outcome, 0, len(cases))
	for i := range cases {
		c := &cases[i]
		start := time.Now()
		result, err := engine.Run(ctx, c.request())
		if err != nil {
			all = append(all, Outcome{Case: c, Faults: []string{err.Error()}})
			continue
		}
		out := Outcome{Case: c, Result: result}
		if envoy == nil || !result.Uncertain {
			out.Faults = c.Expect.check(result, true)
		}
		if envoy != nil {
			other, err := envoy.Run(ctx, c.request())
			if err != nil {
				return nil, err
			}
			for _, fault := range c.Expect.check(other, false) {
				out.Faults = append(out.Faults, "through Envoy: "+fault)
			}
			if !result.Uncertain {
				for _, difference := range result.differs(other) {
					out.Faults = append(out.Faults, "Envoy and the engine disagree: "+difference)
				}
			}
		}
		out.Took = time.Since(start)
		all = append(all, out)
	}
	return all, nil
}
