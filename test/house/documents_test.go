package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	odd     = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// TestLinksBetweenDocumentsLead to a file that is there, and to a heading that it has.
func TestLinksBetweenDocumentsLead(t *testing.T) {
	t.Parallel()
	links := 0
	tree(t, func(path string) {
		if !strings.HasSuffix(path, ".md") {
			return
		}
		text := document(t, path)
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, ":") {
				continue // another site
			}
			links++
			at := path
			if target != "" {
				at = filepath.ToSlash(filepath.Join(filepath.Dir(path), target))
			}
			if _, err := os.Stat(filepath.Join(root, at)); err != nil {
				t.Errorf("%s has a link to %s, which isn't there", path, found[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(at, ".md") && !slices.Contains(anchors(document(t, at)), anchor) {
				t.Errorf("%s has a link to %s, and there is no such heading", path, found[1])
			}
		}
	})
	if links < 20 {
		t.Errorf("found %d links", links)
	}
}

// document is a document without its code.
func document(t *testing.T, path string) string {
	t.Helper()
	return fence.ReplaceAllString(read(t, path), "")
}

// anchors are what headings are called in links.
func anchors(text string) (names []string) {
	for _, found := range heading.FindAllStringSubmatch(text, -1) {
		names = append(names, strings.ReplaceAll(odd.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-"))
	}
	return names
}

var (
	goFile = regexp.MustCompile("`([a-z0-9_/]+\\.go)`")
	goTest = regexp.MustCompile("`((?:Test|Benchmark|Fuzz|Example)[A-Z]\\w*)`")
)

// TestDocumentsNameWhatIsThere: files of Go and tests.
func TestDocumentsNameWhatIsThere(t *testing.T) {
	t.Parallel()
	var files, documents []string
	tests := map[string]bool{}
	// In documents and comments, too: examples are named beside their code.
	declared := regexp.MustCompile(`func (\w+)\(\w+ \*testing\.\w+\)`)
	tree(t, func(path string) {
		switch filepath.Ext(path) {
		case ".go":
			files = append(files, "/"+path)
		case ".md":
			documents = append(documents, path)
		default:
			return
		}
		for _, found := range declared.FindAllStringSubmatch(read(t, path), -1) {
			tests[found[1]] = true
		}
	})
	named := 0
	for _, path := range documents {
		text := document(t, path)
		for _, found := range goFile.FindAllStringSubmatch(text, -1) {
			named++
			if !slices.ContainsFunc(files, func(file string) bool { return strings.HasSuffix(file, "/"+found[1]) }) {
				t.Errorf("%s names %s, which isn't there", path, found[1])
			}
		}
		for _, found := range goTest.FindAllStringSubmatch(text, -1) {
			named++
			if !tests[found[1]] {
				t.Errorf("%s names %s, and there is no such test", path, found[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("found %d names", named)
	}
}

// TestTheReadmeHasEveryCommand, and no other.
func TestTheReadmeHasEveryCommand(t *testing.T) {
	t.Parallel()
	help, err := exec.CommandContext(t.Context(), gatewaytest.Binary(t), "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(help), "Available Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	_, table, _ := strings.Cut(read(t, "README.md"), "| command | does |\n|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var commands, rows []string
	for _, found := range regexp.MustCompile(`(?m)^  (\w+) `).FindAllStringSubmatch(list, -1) {
		if name := found[1]; name != "help" && name != "completion" {
			commands = append(commands, name)
		}
	}
	for _, found := range regexp.MustCompile("(?m)^\\| `(\\w+)` ").FindAllStringSubmatch(table, -1) {
		rows = append(rows, found[1])
	}
	slices.Sort(rows)
	if len(commands) < 5 || !slices.Equal(commands, rows) {
		t.Errorf("the command has %v, the README %v", commands, rows)
	}
}
