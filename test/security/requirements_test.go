package security_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// requirement is one row of docs/requirements.md with what the sources of the tests say of it.
type requirement struct {
	number  int
	title   string
	tests   map[string]bool
	hostile int
}

var (
	row    = regexp.MustCompile(`(?m)^\| S(\d+) \| (.+) \|$`)
	tagged = regexp.MustCompile(`S\d+`)
	// name is the head of a test's name or of a case's: TestS1S2Paths, FuzzS3Paths, "S13 two lines".
	name     = regexp.MustCompile(`^(?:Test|Fuzz)((?:S\d+)+)[A-Z]`)
	caseName = regexp.MustCompile(`^((?:S\d+ )+)`)
)

func requirements(t *testing.T) map[int]*requirement {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "requirements.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]*requirement{}
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		n, _ := strconv.Atoi(match[1])
		all[n] = &requirement{number: n, title: match[2], tests: map[string]bool{}}
	}
	return all
}

// TestEveryRequirementHasTests reads the sources: a requirement's tests are those with its number in their
// name, or in a case's. Their hostile inputs are the cases of their tables, and a fuzz target's seeds.
func TestEveryRequirementHasTests(t *testing.T) {
	t.Parallel()
	all := requirements(t)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && path != root:
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Recv == nil {
				count(all, function)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= max(51, len(all)); n++ {
		r := all[n]
		switch {
		case r != nil && n == 50 && refusesOIDC(t):
			// There is no login to be attacked yet: policies with one answer 503.
		case r == nil:
			t.Errorf("S%d isn't in docs/requirements.md", n)
		case len(r.tests) == 0:
			t.Errorf("S%d has no test: %s", n, r.title)
		case r.hostile == 0:
			t.Errorf("S%d has no table of hostile inputs: %s", n, r.title)
		default:
			fmt.Printf("requirement | S%d | %s | %d | %s\n", n, r.title, r.hostile, strings.Join(slices.Sorted(maps.Keys(r.tests)), " "))
		}
	}
}

func refusesOIDC(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "translator", "policy", "security.go"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), `"oidc": spec.OIDC != nil`)
}

// count notes a test under the numbers in its name with all of its cases, and under those of its cases with
// these.
func count(all map[int]*requirement, function *ast.FuncDecl) {
	test := function.Name.Name
	note := func(numbers string, hostile int) {
		for _, number := range tagged.FindAllString(numbers, -1) {
			n, _ := strconv.Atoi(number[1:])
			if all[n] == nil {
				all[n] = &requirement{number: n, title: "?", tests: map[string]bool{}}
			}
			all[n].tests[test] = true
			all[n].hostile += hostile
		}
	}
	if match := name.FindStringSubmatch(test); match != nil {
		note(match[1], cases(function.Body))
	} else if !strings.HasPrefix(test, "Test") {
		return
	}
	ast.Inspect(function.Body, func(node ast.Node) bool {
		literal, ok := node.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		text, _ := strconv.Unquote(literal.Value)
		if match := caseName.FindStringSubmatch(text); match != nil {
			note(match[1], 1)
		}
		return true
	})
}

// cases counts the elements of the tables in a body, those that a loop ranges over or that are named, and
// seeds. Tables inside of a table's element are part of it.
func cases(body *ast.BlockStmt) (n int) {
	ast.Inspect(body, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.CompositeLit:
			switch node.Type.(type) {
			case *ast.ArrayType, *ast.MapType:
				if len(node.Elts) > 1 {
					n += len(node.Elts)
				}
				return false
			}
		case *ast.CallExpr:
			if f, ok := node.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Add" && len(node.Args) == 1 {
				n++
			}
		}
		return true
	})
	return n
}

// mutation is one row of testdata/mutations.txt; see the script that runs them.
type mutation struct{ file, from, to, test, pkg string }

func mutations(t *testing.T) []mutation {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "mutations.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []mutation
	for block := range strings.SplitSeq(string(text), "\n\n") {
		m, complete := parseMutation(block)
		if !complete {
			if strings.TrimSpace(block) != "" && !strings.HasPrefix(block, "#") {
				t.Errorf("incomplete: %s", block)
			}
			continue
		}
		all = append(all, m)
	}
	return all
}

func parseMutation(block string) (m mutation, complete bool) {
	for line := range strings.Lines(block) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch key {
		case "file":
			m.file = value
		case "from":
			m.from = value
		case "to":
			m.to = value
		case "test":
			m.pkg, m.test, _ = strings.Cut(value, " ")
		}
	}
	return m, m.file != "" && m.from != "" && m.test != ""
}

// TestMutationsAreUpToDate: each names a guard that is there once, and a test that is there. That the test
// turns red without the guard is shown by `make mutants`.
func TestMutationsAreUpToDate(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range mutations(t) {
		text, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(text), m.from); n != 1 {
			t.Errorf("%s: %q is there %d times", m.file, m.from, n)
		}
		if id := m.file + m.from + m.to; seen[id] {
			t.Errorf("%s: %q twice", m.file, m.from)
		} else {
			seen[id] = true
		}
		tests, err := filepath.Glob(filepath.Join(root, m.pkg, "*_test.go"))
		found := false
		for _, path := range tests {
			source, _ := os.ReadFile(path)
			first, _, _ := strings.Cut(m.test, "|")
			found = found || strings.Contains(string(source), "func "+first)
		}
		if err != nil || !found {
			t.Errorf("%s has no %s", m.pkg, m.test)
		}
	}
	if len(seen) < 50 {
		t.Errorf("only %d mutations", len(seen))
	}
}
