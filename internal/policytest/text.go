package policytest

import (
	"fmt"
	"io"
)

// Text writes the outcomes for people, and what no case has reached. It returns the number of failed
// cases.
func Text(w io.Writer, outcomes []Outcome, engine *Engine) (failed int) {
	for i := range outcomes {
		o := &outcomes[i]
		if len(o.Faults) == 0 {
			fmt.Fprintf(w, "ok    %s\n", o.Case.Name)
			continue
		}
		failed++
		fmt.Fprintf(w, "FAIL  %s (%s)\n", o.Case.Name, o.Case.File)
		for _, fault := range o.Faults {
			fmt.Fprintf(w, "      %s\n", fault)
		}
		if r := o.Result; r != nil && r.Reason != "" {
			fmt.Fprintf(w, "      %s: %s\n", r.Verdict, r.Reason)
		}
	}
	policies, rules := engine.Missed()
	for _, name := range policies {
		fmt.Fprintf(w, "no case reaches SecurityPolicy %s\n", name)
	}
	for _, name := range rules {
		fmt.Fprintf(w, "no case reaches %s\n", name)
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", len(outcomes)-failed, failed)
	return failed
}
