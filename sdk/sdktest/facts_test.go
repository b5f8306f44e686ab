package sdktest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fact is something that a processor's author has to know of the protocol, and where it is tested: "Group" is a
// group of the table, "Group: name" the cases in it whose names begin so, "package.TestName" a test elsewhere.
type fact struct {
	what  string
	cases []string
}

// chapter are facts about one thing.
type chapter struct {
	name  string
	facts []fact
}

func chapters() []chapter {
	return slices.Concat(protocolFacts(), semanticsFacts(), trapFacts())
}

// TestEveryFactHasItsCases: what a fact names exists.
func TestEveryFactHasItsCases(t *testing.T) {
	t.Parallel()
	cases := conformanceCases()
	tests := testsByPackage(t)
	for _, c := range chapters() {
		for _, f := range c.facts {
			if len(f.cases) == 0 {
				t.Errorf("%s: %s: tested nowhere", c.name, f.what)
			}
			for _, name := range f.cases {
				if !exists(name, cases, tests) {
					t.Errorf("%s: %s: there is no %q", c.name, f.what, name)
				}
			}
		}
	}
}

func exists(name string, cases []conform, tests map[string]bool) bool {
	if tests[name] {
		return true
	}
	group, prefix, _ := strings.Cut(name, ": ")
	return slices.ContainsFunc(cases, func(c conform) bool { return c.group == group && strings.HasPrefix(c.name, prefix) })
}

// testsByPackage are the names of tests in the packages that facts may name.
func testsByPackage(t *testing.T) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	out := map[string]bool{}
	for _, dir := range []string{"sdk", "sdk/body", "sdk/sdktest", "extproc", "extproc/doctor"} {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(dir), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
				out[dir+"."+m[1]] = true
			}
		}
	}
	return out
}

// factsMarkdown is the section of the report that says where each fact is tested.
func factsMarkdown() string {
	var out strings.Builder
	out.WriteString("\n## Where each fact is tested\n\nA group of this table, `group: the beginning of cases' names`, or a test of a package.\n")
	escape := strings.NewReplacer("|", `\|`, "<", "&lt;")
	for _, c := range chapters() {
		fmt.Fprintf(&out, "\n### %s\n\n| fact | where |\n|---|---|\n", c.name)
		for _, f := range c.facts {
			fmt.Fprintf(&out, "| %s | `%s` |\n", escape.Replace(f.what), escape.Replace(strings.Join(f.cases, "`, `")))
		}
	}
	return out.String()
}
