// Package statuscases reads the cases of translator/kubestatus/testdata: sets of objects, the statuses that
// they must get, and what Envoy must answer with them. The statuses are checked where they are rendered, and
// together with the answers by test/status.
package statuscases

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
)

// File is a file of cases. It is a txtar archive: "base" is part of every case that follows; each case is
// followed by "want", its statuses, and by "traffic", its requests and their answers.
type File struct {
	Name    string // without directory and extension
	Cases   []Case
	path    string
	archive *txtar.Archive
}

// Case is one set of objects.
type Case struct {
	Name    string
	Objects []string // manifests, those of the base first
	want    *txtar.File
	Traffic string
}

// Want is what the case says of its statuses.
func (c *Case) Want() string { return string(c.want.Data) }

// SetWant changes it.
func (c *Case) SetWant(text string) { c.want.Data = []byte(text) }

// Read reads the files of a directory.
func Read(t testing.TB, dir string) []*File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases in %s: %v", dir, err)
	}
	files := make([]*File, len(paths))
	for i, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = &File{Name: strings.TrimSuffix(filepath.Base(path), ".txtar"), path: path, archive: archive}
		files[i].read(t)
	}
	return files
}

func (f *File) read(t testing.TB) {
	t.Helper()
	base := ""
	for i := 0; i < len(f.archive.Files); i++ {
		part := &f.archive.Files[i]
		if part.Name == "base" {
			base = string(part.Data)
			continue
		}
		c := Case{Name: part.Name, Objects: append(Manifests(t, base), Manifests(t, string(part.Data))...)}
		if i+2 >= len(f.archive.Files) || f.archive.Files[i+1].Name != "want" || f.archive.Files[i+2].Name != "traffic" {
			t.Fatalf("%s: case %q isn't followed by want and traffic", f.Name, part.Name)
		}
		c.want, c.Traffic = &f.archive.Files[i+1], string(f.archive.Files[i+2].Data)
		f.Cases = append(f.Cases, c)
		i += 2
	}
}

// Write writes the file back, with what SetWant has changed.
func (f *File) Write() error { return os.WriteFile(f.path, txtar.Format(f.archive), 0o600) }

// Lines writes statuses as cases do: a line for each object, listener, parent and ancestor, without what is
// well. Among that is the condition Programmed if it is as programmed says, "Unknown/Pending" or
// "True/Programmed".
func Lines(objects []kubestatus.Object, programmed string) string {
	well := []string{
		"Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Conflicted=False/NoConflicts", "Programmed=" + programmed,
	}
	var out strings.Builder
	for i := range objects {
		o := &objects[i]
		o.Status.Each(func(relative string, conditions []metav1.Condition) {
			if relative == "" && len(conditions) == 0 && len(o.Status.Parents)+len(o.Status.Ancestors) > 0 {
				return
			}
			out.WriteString(strings.Join(words(o, relative, conditions, well), " ") + "\n")
		})
	}
	return out.String()
}

func words(o *kubestatus.Object, relative string, conditions []metav1.Condition, well []string) []string {
	words := []string{o.Key().String()}
	if relative != "" {
		words = append(words, "["+relative+"]")
	}
	for _, l := range o.Status.Listeners {
		if string(l.Name) == relative && l.AttachedRoutes != 0 {
			words = append(words, fmt.Sprintf("routes=%d", l.AttachedRoutes))
		}
	}
	if len(conditions) == 0 {
		words = append(words, "-")
	}
	for _, c := range conditions {
		if word := fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason); !slices.Contains(well, word) {
			words = append(words, word)
		}
	}
	return words
}
