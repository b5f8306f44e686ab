package policytest

import (
	"fmt"
	"io"
)

// Text writes the outcomes for people, what another version of the policies would change, and what no case
// has reached. It returns the number of failed cases.
func Text(w io.Writer, outcomes []Outcome, changes []Change, missed []string) (failed int) {
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
	for _, c := range changes {
		fmt.Fprintf(w, "other %s\n", c.Case.Name)
		for _, difference := range c.Differences {
			fmt.Fprintf(w, "      %s\n", difference)
		}
	}
	for _, name := range missed {
		fmt.Fprintf(w, "no case reaches %s\n", name)
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", len(outcomes)-failed, failed)
	return failed
}
