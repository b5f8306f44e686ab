package memo_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator/memo"
)

type text struct{ s string }

// join derives a text from two leaves, and counts how often it runs.
func graph(prev *memo.Graph, leaves map[string]*text, runs *int) *memo.Graph {
	leaf := func(k memo.Key) any {
		if t, ok := leaves[k.Name]; ok {
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
	return memo.New(prev, leaf, nil, map[memo.Kind]memo.Rule{
		"join": func(v *memo.View, k memo.Key) any {
			*runs++
			return &text{get(v, "a") + get(v, k.Name)}
		},
		"top": func(v *memo.View, _ memo.Key) any {
			*runs++
			return &text{memo.Read[*text](v, memo.Key{Kind: "join", Name: "b"}).s + "!"}
		},
	})
}

func TestUnchangedValuesAreReusedByIdentity(t *testing.T) {
	t.Parallel()
	a, b, runs := &text{"1"}, &text{"2"}, 0
	top := memo.Key{Kind: "top"}
	first := graph(nil, map[string]*text{"a": a, "b": b}, &runs)
	before := first.Get(top)
	second := graph(first, map[string]*text{"a": a, "b": b, "c": {"new"}}, &runs)
	if second.Get(top) != before || runs != 2 {
		t.Fatalf("an unrelated leaf made %d runs", runs)
	}
}

func TestAChangeReachesWhatDependsOnIt(t *testing.T) {
	t.Parallel()
	a, runs := &text{"1"}, 0
	top := memo.Key{Kind: "top"}
	first := graph(nil, map[string]*text{"a": a}, &runs)
	if got := first.Get(top).(*text).s; got != "1-!" {
		t.Fatalf("got %q", got)
	}
	second := graph(first, map[string]*text{"a": a, "b": {"2"}}, &runs)
	if got := second.Get(top).(*text).s; got != "12!" {
		t.Fatalf("a leaf that appeared was not seen: %q", got)
	}
}
