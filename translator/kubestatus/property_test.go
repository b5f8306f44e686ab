package kubestatus_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/internal/statuscases"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// TestAnyObjectsInAnyOrder throws the objects of all cases together at random: any order gives the same
// statuses, and they are complete.
func TestAnyObjectsInAnyOrder(t *testing.T) {
	t.Parallel()
	pool := pool(t)
	random := rand.New(rand.NewPCG(1, 2)) // the same objects at every run
	for range 80 {
		random.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
		objects := distinct(pool[:min(len(pool), 60)])
		checkOrder(t, objects)
		checkComplete(t, render(t, objects))
		if t.Failed() {
			return
		}
	}
}

// pool lists the objects of all cases.
func pool(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, file := range statuscases.Read(t, "testdata") {
		for i := range file.Cases {
			all = append(all, file.Cases[i].Objects...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// distinct keeps the first object of each name. Of two with one name the first in the input counts, so
// their order does matter.
func distinct(objects []string) []string {
	seen := map[string]bool{}
	var kept []string
	for _, text := range objects {
		set, problems := build(nil, []*resource.Document{resource.Decode([]byte(text))})
		key := ""
		for _, o := range kubestatus.Render(kubestatus.Input{Set: set, Problems: problems, Controllers: controllers()}) {
			key = o.Key().String()
		}
		if key == "" { // a kind without status
			key = strings.Join(strings.SplitN(text, "\n", 4)[:3], " ")
		}
		if !seen[key] {
			seen[key] = true
			kept = append(kept, text)
		}
	}
	return kept
}

func checkComplete(t *testing.T, objects []kubestatus.Object) {
	t.Helper()
	for i := range objects {
		o := &objects[i]
		o.Status.Each(func(relative string, conditions []metav1.Condition) {
			types := map[string]bool{}
			for _, c := range conditions {
				if types[c.Type] {
					t.Errorf("%s [%s] has two conditions %s", o.Key(), relative, c.Type)
				}
				types[c.Type] = true
				if c.Reason == "" || c.Message == "" || c.Status == "" || c.ObservedGeneration < 1 {
					t.Errorf("%s [%s]: incomplete: %+v", o.Key(), relative, c)
				}
			}
			if len(conditions) > 0 && !types["Accepted"] {
				t.Errorf("%s [%s] doesn't say whether it is accepted", o.Key(), relative)
			}
		})
		for _, l := range o.Status.Listeners {
			if len(l.Conditions) < 4 || l.SupportedKinds == nil {
				t.Errorf("%s: listener %s is incomplete: %+v", o.Key(), l.Name, l)
			}
		}
		if len(o.Status.Ancestors) > 16 {
			t.Errorf("%s has more ancestors than the API allows", o.Key())
		}
	}
}

// TestAnySplitIntoFiles: how objects are spread over documents, files and folders changes neither a status nor
// a byte of what Envoy and the authorizer get.
func TestAnySplitIntoFiles(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4)) // the same splits at every run
	for _, file := range statuscases.Read(t, "testdata") {
		for i := range file.Cases {
			c := &file.Cases[i]
			objects := distinct(c.Objects)
			want, wantStatuses := outcome(t, split(t, random, objects, 1))
			for _, parts := range []int{2, len(objects)} {
				random.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
				got, statuses := outcome(t, split(t, random, objects, parts))
				if statuses != wantStatuses {
					t.Errorf("%s/%s: another split into files gives\n%s\nnot\n%s", file.Name, c.Name, statuses, wantStatuses)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s/%s: another split into files gives another configuration", file.Name, c.Name)
				}
			}
		}
	}
}

// split writes objects at random into at most so many files, as documents or as lists.
func split(t *testing.T, random *rand.Rand, objects []string, parts int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	byName := map[string][]string{}
	for _, text := range objects {
		name := fmt.Sprintf("%c/%d.yaml", 'a'+rune(random.IntN(3)), random.IntN(parts))
		byName[name] = append(byName[name], text)
	}
	for name, texts := range byName {
		all := strings.Join(texts, "---\n")
		if random.IntN(2) == 0 {
			all = list(texts)
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(all), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// list makes one document of objects.
func list(texts []string) string {
	var out strings.Builder
	out.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	for _, text := range texts {
		for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
			indent := "  "
			if i == 0 {
				indent = "- "
			}
			out.WriteString(indent + line + "\n")
		}
	}
	return out.String()
}

// outcome reads a folder and returns its configuration, and its statuses.
func outcome(t *testing.T, dir string) (configuration []byte, statuses string) {
	t.Helper()
	source, err := files.New([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	set, problems, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	result := translator.New(translator.Options{ControllerNames: controllers(), SealKey: []byte("key")}).Translate(set, nil)
	configuration, err = snapshot.Encode(result.Snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return configuration, encode(t, kubestatus.Render(kubestatus.Input{
		Set: set, Problems: problems, Conditions: result.Conditions, Listeners: result.Listeners, Controllers: controllers(),
	}))
}
