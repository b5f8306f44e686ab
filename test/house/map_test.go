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
	_, section, _ := strings.Cut(read(t, "CONTRIBUTING.md"), "## Where things are\n")
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

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
