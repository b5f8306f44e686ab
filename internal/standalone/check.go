package standalone

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
	"github.com/gatehouse-proxy/gatehouse/translator/status"
)

// Checked is what can be said of files without running anything.
type Checked struct {
	Set      *resource.Set
	Problems []resource.Problem
	Result   *translator.Result
	// Facts are what compiling the policies has shown, and what a caller adds.
	Facts []status.Condition
}

// Check reads the files, translates them and compiles every policy, used or not, without touching the
// network. The error wraps ErrInput if nothing can be read.
func Check(paths []string) (*Checked, error) {
	source, err := files.New(paths)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	set, problems, err := source.Load()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	t := translator.New(translator.Options{ControllerNames: ControllerNames(), SealKey: []byte("a fixed key, for looking at output")})
	return &Checked{Set: set, Problems: problems, Result: t.Translate(set, nil), Facts: compile(t, set)}, nil
}

// compile returns the conditions of policies that the authorizer couldn't enforce.
func compile(t *translator.Translator, set *resource.Set) []status.Condition {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	fetcher := jwt.NewFetcher(jwt.FetcherOptions{Offline: true, Logger: log})
	defer fetcher.Close()
	var all []status.Condition
	for _, s := range t.Policies(set) {
		if s.Spec.Fault != "" {
			continue // the translation tells it
		}
		compiled, err := policy.Compile(s.Spec, policy.Deps{Data: s.Data, JWKS: fetcher, Logger: log})
		if err == nil {
			compiled.Close()
			continue
		}
		for _, message := range messages(err) {
			all = append(all, status.Condition{
				Object: named("SecurityPolicy", s.Spec.Name), Type: "Accepted", Reason: "Invalid", Message: "spec." + message,
			})
		}
	}
	return all
}

// messages splits an error that holds several.
func messages(err error) []string {
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok && joined.Error() == err.Error() {
		var all []string
		for _, one := range joined.Unwrap() {
			all = append(all, messages(one)...)
		}
		return all
	}
	return []string{strings.TrimSpace(err.Error())}
}

// Statuses renders the statuses of all objects.
func (c *Checked) Statuses() []kubestatus.Object {
	return Statuses(c.Set, c.Problems, c.Result, c.Facts)
}

// Findings are all that is wrong, and what works and should be written otherwise.
func (c *Checked) Findings() (faults, warnings []resource.Problem) {
	conditions := slices.Concat(c.Result.Conditions, c.Facts)
	faults = unique(faultsOf(c.Set, c.Problems, conditions))
	for _, w := range c.Set.AllWarnings() {
		warnings = append(warnings, resource.Problem(w))
	}
	for _, condition := range conditions {
		if (condition.Type == "Overridden" || condition.Type == "Warning") && condition.True {
			warnings = append(warnings, problem(c.Set, condition))
		}
	}
	return faults, unique(warnings)
}

// unique sorts by place and drops repetitions: a rule is translated once for each listener.
func unique(all []resource.Problem) []resource.Problem {
	slices.SortStableFunc(all, func(a, b resource.Problem) int {
		return cmp.Or(cmp.Compare(a.Origin.File, b.Origin.File), cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(all)
}
