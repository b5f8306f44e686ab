package house_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// TestTheMapNamesEveryPackage, and nothing else: CONTRIBUTING's table is how a newcomer finds the way.
func TestTheMapNamesEveryPackage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Where things are\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var named []string
	for _, row := range regexp.MustCompile(`(?m)^\|.*`).FindAllString(section, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row, -1) {
			named = append(named, name[1])
		}
	}
	for _, name := range named {
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || !info.IsDir() {
			t.Errorf("the map has %s, which is no folder", name)
		}
	}
	for _, name := range packages(t) {
		top, _, _ := strings.Cut(name, "/")
		if !slices.Contains(named, name) && top != "examples" && top != "test" {
			t.Errorf("the map is without %s", name)
		}
	}
}

// packages are the folders with Go code that isn't a test's alone.
func packages(t *testing.T) (found []string) {
	t.Helper()
	tree(t, func(path string) {
		name := filepath.Dir(path)
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !slices.Contains(found, name) {
			found = append(found, name)
		}
	})
	if len(found) < 50 {
		t.Fatalf("found %d packages", len(found))
	}
	return found
}

// tree visits the repository's files, by their paths in it.
func tree(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			path, err = filepath.Rel(root, path)
			visit(filepath.ToSlash(path))
			return err
		case path != root && strings.HasPrefix(d.Name(), "."), d.Name() == "testdata", d.Name() == "bin":
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

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
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return fence.ReplaceAllString(string(text), "")
}

// anchors are what headings are called in links.
func anchors(text string) (names []string) {
	for _, found := range heading.FindAllStringSubmatch(text, -1) {
		names = append(names, strings.ReplaceAll(odd.ReplaceAllString(strings.ToLower(found[1]), ""), " ", "-"))
	}
	return names
}
