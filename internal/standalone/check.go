package standalone

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
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
func Check(paths []string) (*Checked, error) { return check(paths, nil) }

// check is Check with descriptions of OpenID providers from elsewhere; describe may be nil.
func check(paths []string, describe func(issuers []string) discovery.Documents) (*Checked, error) {
	source, err := files.New(paths)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	set, problems, err := source.Load()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	t := translator.New(translator.Options{ControllerNames: ControllerNames(), SealKey: []byte("a fixed key, for looking at output"), SystemRoots: SystemRoots()})
	result := t.Translate(set, nil)
	if describe != nil && len(result.Providers) > 0 {
		set = set.WithProviders(describe(result.Issuers()))
		result = t.Translate(set, result)
	}
	return Judge(t, set, problems, result), nil
}

// Judge compiles every policy of what t has translated, used or not, without touching the network.
func Judge(t *translator.Translator, set *resource.Set, problems []resource.Problem, result *translator.Result) *Checked {
	c := &Checked{Set: set, Problems: problems, Result: result}
	c.compile(t)
	c.processors()
	return c
}

// compile compiles the policies as they are in force, that is merged, and by itself each that isn't.
func (c *Checked) compile(t *translator.Translator) {
	log := slog.New(slog.DiscardHandler)
	fetcher := jwt.NewFetcher(jwt.FetcherOptions{Offline: true, Logger: log})
	defer fetcher.Close()
	bundles := bundle.NewFetcher(bundle.Options{AllowFiles: true, Offline: true, Logger: log})
	defer bundles.Close()
	databases := geo.New(geo.Options{Logger: log})
	defer databases.Close()
	decisions := decisionlog.New(decisionlog.Options{Stdout: io.Discard, Dir: os.DevNull, Logger: log})
	defer decisions.Close()
	inForce := map[string]bool{}
	for _, p := range c.Result.Snapshot.Policies {
		inForce[p.Spec.Name] = true
		c.Facts = append(c.Facts, compileFaults(p.Spec, policy.Deps{Data: p.Data, JWKS: fetcher, Bundles: bundles, Geo: databases, Decisions: decisions, Logger: log})...)
	}
	for _, s := range t.Policies(c.Set) {
		if !inForce[s.Spec.Name] {
			c.Facts = append(c.Facts, compileFaults(s.Spec, policy.Deps{Data: s.Data, JWKS: fetcher, Bundles: bundles, Geo: databases, Decisions: decisions, Logger: log})...)
		}
	}
}

// compileFaults are the conditions of a policy that the authorizer couldn't enforce. A fault that the
// translation has found isn't told twice.
func compileFaults(spec *config.Policy, deps policy.Deps) []status.Condition {
	if spec.Fault != "" {
		return nil
	}
	compiled, err := policy.Compile(spec, deps)
	if err == nil {
		defer compiled.Close()
		return missingDatabases(deps.Geo.States())
	}
	return CompileFaults(spec.Name, err)
}

// CompileFaults are the conditions of a policy, by its namespace/name, for the error of compiling it.
func CompileFaults(name string, err error) []status.Condition {
	parts := messages(err)
	all := make([]status.Condition, 0, len(parts))
	for _, message := range parts {
		all = append(all, status.Condition{
			Object: securityPolicy(name), Type: "Accepted", Reason: "Invalid", Message: specField(message),
		})
	}
	return all
}

// policyField is the head of a message that names a field of a SecurityPolicy.
var policyField = regexp.MustCompile(`^(spec\.)?(apiKeyAuth|authMode|authorization|basicAuth|cors|jwt|opa)\b`)

// specField names the field below spec at the head of a message once: engines name it with and without
// spec, and a Rego module is called by its field.
func specField(message string) string {
	if !policyField.MatchString(message) {
		return message
	}
	message = "spec." + strings.TrimPrefix(message, "spec.")
	field, rest, _ := strings.Cut(message, ": ")
	if line, ok := strings.CutPrefix(rest, field+":"); ok {
		return field + ": line " + line
	}
	return message
}

// messages splits an error that holds several.
func messages(err error) []string {
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok && joined.Error() == err.Error() {
		parts := joined.Unwrap()
		all := make([]string, 0, len(parts))
		for _, one := range parts {
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
	at := locator{files: map[string][]resource.Chunk{}}
	for _, f := range faultsOf(c.Set, c.Problems, conditions) {
		faults = append(faults, at.locate(f))
	}
	for _, w := range c.Set.AllWarnings() {
		warnings = append(warnings, resource.Problem(w))
	}
	for _, condition := range conditions {
		if condition.Type == "Warning" && condition.True {
			warnings = append(warnings, at.locate(problem(c.Set, condition)))
		}
	}
	return unique(faults), unique(warnings)
}

// unique sorts by place and drops repetitions: a rule is translated once for each listener.
func unique(all []resource.Problem) []resource.Problem {
	slices.SortStableFunc(all, func(a, b resource.Problem) int {
		return cmp.Or(cmp.Compare(a.Origin.File, b.Origin.File), cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Field, b.Field), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(all)
}
