package kubestatus_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	rendering "github.com/gatehouse-proxy/gatehouse/internal/render"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

var update = flag.Bool("update", false, "write what is got as what is wanted")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

// TestStatuses holds the statuses of all objects of each case against its table. A file of cases is a
// txtar archive: "base" is part of every case that follows, each case is followed by "want". There is one
// line for each object, listener, parent and ancestor; conditions are left out where all is well.
//
// Any order of the objects must give the very same statuses.
func TestStatuses(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		runCases(t, strings.TrimSuffix(filepath.Base(path), ".txtar"), archive)
		if *update {
			if err := os.WriteFile(path, txtar.Format(archive), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func runCases(t *testing.T, name string, archive *txtar.Archive) {
	t.Helper()
	base := ""
	for i, f := range archive.Files {
		switch {
		case f.Name == "base":
			base = string(f.Data)
			continue
		case f.Name == "want":
			continue
		case i+1 == len(archive.Files) || archive.Files[i+1].Name != "want":
			t.Fatalf("%s: case %q has no want", name, f.Name)
		}
		want := &archive.Files[i+1]
		objects := append(manifests(t, base), manifests(t, string(f.Data))...)
		run := func(t *testing.T) {
			got := lines(render(t, objects))
			if *update {
				want.Data = []byte(got)
			} else if got != string(want.Data) {
				t.Errorf("got\n%swant\n%s", got, want.Data)
			}
			checkOrder(t, objects)
			if !testing.Short() {
				loadInEnvoy(t, objects)
			}
		}
		if *update {
			run(t)
			continue
		}
		t.Run(name+"/"+f.Name, func(t *testing.T) { t.Parallel(); run(t) })
	}
}

func checkOrder(t *testing.T, objects []string) {
	t.Helper()
	want := encode(t, render(t, objects))
	shuffled := slices.Clone(objects)
	for range 4 {
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := encode(t, render(t, shuffled)); got != want {
			t.Errorf("another order of objects\n%s\ngives\n%s\nnot\n%s", strings.Join(shuffled, "\n"), got, want)
			return
		}
	}
}

// loadInEnvoy has Envoy load what a case serves: whatever is wrong with some of its objects, the rest must
// be a configuration.
func loadInEnvoy(t *testing.T, objects []string) {
	t.Helper()
	documents := make([]*resource.Document, len(objects))
	for i, text := range objects {
		documents[i] = resource.Decode([]byte(text))
	}
	set, _ := build(nil, documents)
	result := translator.New(translator.Options{ControllerNames: controllers(), SealKey: []byte("key")}).Translate(set, nil)
	var bootstrap bytes.Buffer
	if err := rendering.Snapshot(&bootstrap, result.Snapshot, rendering.Options{Format: rendering.Envoy, Type: rendering.All, StateDir: "/tmp"}); err != nil {
		t.Fatal(err)
	}
	envoytest.Validate(t, bootstrap.String())
}

func encode(t *testing.T, objects []kubestatus.Object) string {
	t.Helper()
	text, err := json.MarshalIndent(objects, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func controllers() []string {
	return []string{translator.ControllerName, translator.EnvoyGatewayControllerName}
}

// render gives the statuses of objects. They are translated in two steps, the second incrementally, which
// must make no difference.
func render(t *testing.T, objects []string) []kubestatus.Object {
	t.Helper()
	documents := make([]*resource.Document, len(objects))
	for i, text := range objects {
		documents[i] = resource.Decode([]byte(text))
	}
	translate := translator.New(translator.Options{ControllerNames: controllers(), SealKey: []byte("key")}).Translate
	half, _ := build(nil, documents[:len(documents)/2])
	set, problems := build(half, documents)
	result := translate(set, translate(half, nil))
	return kubestatus.Render(kubestatus.Input{
		Set: set, Problems: problems, Conditions: result.Conditions, Listeners: result.Listeners, Controllers: controllers(),
	})
}

func build(previous *resource.Set, documents []*resource.Document) (*resource.Set, []resource.Problem) {
	builder := resource.NewBuilder(previous)
	for i, d := range documents {
		builder.Add(d, resource.Origin{File: fmt.Sprintf("%d.yaml", i), Line: 1})
	}
	return builder.Build()
}

// well are the conditions of something without fault.
var well = []string{
	"Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Conflicted=False/NoConflicts", "Programmed=Unknown/Pending",
}

// lines writes statuses as cases do.
func lines(objects []kubestatus.Object) string {
	var out strings.Builder
	for i := range objects {
		o := &objects[i]
		o.Status.Each(func(relative string, conditions []metav1.Condition) {
			if relative == "" && len(conditions) == 0 && len(o.Status.Parents)+len(o.Status.Ancestors) > 0 {
				return
			}
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
			out.WriteString(strings.Join(words, " ") + "\n")
		})
	}
	return out.String()
}
