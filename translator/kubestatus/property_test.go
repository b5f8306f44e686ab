package kubestatus_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/statuscases"
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
