package kubestatus_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/statuscases"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

var update = flag.Bool("update", false, "write what is got as what is wanted")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

// pending is what files alone tell of Programmed.
const pending = "Unknown/Pending"

// TestStatuses holds the statuses of all objects of each case against its table. Any order of the objects must
// give the very same statuses.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for _, file := range statuscases.Read(t, "testdata") {
		for i := range file.Cases {
			c := &file.Cases[i]
			if *update {
				c.SetWant(statuscases.Lines(render(t, c.Objects), pending))
				continue
			}
			t.Run(file.Name+"/"+c.Name, func(t *testing.T) { t.Parallel(); checkCase(t, c) })
		}
		if *update {
			if err := file.Write(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func checkCase(t *testing.T, c *statuscases.Case) {
	t.Helper()
	if got := statuscases.Lines(render(t, c.Objects), pending); got != c.Want() {
		t.Errorf("got\n%swant\n%s", got, c.Want())
	}
	checkOrder(t, c.Objects)
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
