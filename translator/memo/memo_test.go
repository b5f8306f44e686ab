package memo_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
)

type text struct{ s string }

// world is some leaves, and rules that count how often they run.
type world struct {
	leaves map[string]*text
	runs   int
}

func (w *world) graph() *memo.Graph {
	leaf := func(k memo.Key) any {
		if t, ok := w.leaves[k.Name]; ok {
			return t
		}
		return nil
	}
	get := func(v *memo.View, name string) string {
		if t := memo.Read[*text](v, memo.Key{Kind: "leaf", Name: name}); t != nil {
			return t.s
		}
		return "-"
	}
	return memo.New(leaf, map[memo.Kind]memo.Rule{
		"join": func(v *memo.View, k memo.Key) any { // what a leaf says, and the leaf that it names
			w.runs++
			first := get(v, k.Name)
			return &text{first + get(v, first)}
		},
		"length": func(v *memo.View, k memo.Key) any { // a plain value
			w.runs++
			return len(memo.Read[*text](v, memo.Key{Kind: "join", Name: k.Name}).s)
		},
		"top": func(v *memo.View, k memo.Key) any {
			w.runs++
			return &text{fmt.Sprint(memo.Read[int](v, memo.Key{Kind: "length", Name: k.Name}), get(v, "z"))}
		},
	})
}

func leaf(name string) memo.Key { return memo.Key{Kind: "leaf", Name: name} }
func top(name string) memo.Key  { return memo.Key{Kind: "top", Name: name} }

func TestWhatDoesntDependOnAChangeIsntLookedAt(t *testing.T) {
	t.Parallel()
	w := &world{leaves: map[string]*text{"a": {"b"}, "b": {"1"}, "c": {"d"}}}
	g := w.graph()
	before := g.Get(top("a"))
	other := g.Get(top("c"))
	w.runs, w.leaves["d"] = 0, &text{"2"}
	suspects := g.Update([]memo.Key{leaf("d"), leaf("nobody reads this")})
	if len(suspects) != 1 || suspects[0] != top("c") {
		t.Fatalf("suspects %v, want what was derived from d alone, though d wasn't there", suspects)
	}
	if g.Get(top("a")) != before || w.runs != 0 {
		t.Fatalf("an unrelated leaf made %d runs", w.runs)
	}
	// join has run, and the length is what it was: what was derived from the length stays.
	if g.Get(top("c")) != other || w.runs != 2 || g.Ran() != 2 {
		t.Fatalf("%d runs, want those of join and length", w.runs)
	}
}

func TestDroppedValuesAreForgotten(t *testing.T) {
	t.Parallel()
	w := &world{leaves: map[string]*text{"a": {"b"}}}
	g := w.graph()
	g.Get(top("a"))
	g.Get(memo.Key{Kind: "join", Name: "a"})
	g.Drop(top("a"))
	w.leaves["a"] = &text{"c"}
	if suspects := g.Update([]memo.Key{leaf("a")}); len(suspects) != 1 || suspects[0].Kind != "join" {
		t.Fatalf("suspects %v, want the kept value alone", suspects)
	}
	g.Drop(memo.Key{Kind: "join", Name: "a"})
	w.leaves["a"] = &text{"d"}
	if suspects := g.Update([]memo.Key{leaf("a")}); len(suspects) != 0 || g.Kept() != 0 {
		t.Fatalf("suspects %v and %d kept values of an empty graph", suspects, g.Kept())
	}
}

// TestAValueChangesHands: a value that one rule takes up while another lets go of it stays alive.
func TestAValueChangesHands(t *testing.T) {
	t.Parallel()
	leaves := map[string]*text{"switch": {"b"}, "x": {"1"}}
	x := memo.Key{Kind: "x"}
	g := memo.New(func(k memo.Key) any { return leaves[k.Name] }, map[memo.Kind]memo.Rule{
		"x": func(v *memo.View, _ memo.Key) any { return memo.Read[*text](v, leaf("x")) },
		"b": func(v *memo.View, _ memo.Key) any {
			if memo.Read[*text](v, leaf("switch")).s == "b" {
				return memo.Read[*text](v, x)
			}
			return nil
		},
		"a": func(v *memo.View, _ memo.Key) any {
			if memo.Read[*text](v, leaf("switch")).s == "a" {
				defer v.Get(memo.Key{Kind: "b"})
				return memo.Read[*text](v, x)
			}
			return v.Get(memo.Key{Kind: "b"})
		},
	})
	a := memo.Key{Kind: "a"}
	g.Get(a)
	leaves["switch"] = &text{"a"}
	g.Update([]memo.Key{leaf("switch")})
	g.Get(a)
	leaves["x"] = &text{"2"}
	g.Update([]memo.Key{leaf("x")})
	if got := say(g.Get(a)); got != "2" {
		t.Fatalf("got %s, want the new value", got)
	}
}

func say(value any) string {
	if t, ok := value.(*text); ok {
		return t.s
	}
	return fmt.Sprint(value)
}

// TestUpdatedEqualsNew: whatever changes, an updated graph says what a new one would.
func TestUpdatedEqualsNew(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	names := strings.Split("abcdz", "")
	w := &world{leaves: map[string]*text{}}
	g, kept := w.graph(), map[memo.Key]bool{}
	for step := range 20_000 {
		name := names[random.IntN(len(names))]
		key := memo.Key{Kind: []memo.Kind{"join", "length", "top"}[random.IntN(3)], Name: name}
		switch random.IntN(4) {
		case 0:
			delete(w.leaves, name)
			g.Update([]memo.Key{leaf(name)})
		case 1:
			w.leaves[name] = &text{names[random.IntN(len(names))]}
			g.Update([]memo.Key{leaf(name)})
		case 2:
			kept[key] = true
		case 3:
			delete(kept, key)
			g.Drop(key)
		}
		fresh := w.graph()
		for _, key := range slices.Collect(maps.Keys(kept)) {
			if got, want := say(g.Get(key)), say(fresh.Get(key)); got != want {
				t.Fatalf("step %d: %v is %s, want %s", step, key, got, want)
			}
		}
	}
}
