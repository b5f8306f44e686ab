package exchange_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// A host sends what it has prepared only for a verdict that is still the one it was prepared of.
func TestAnEditedVerdictIsNoPreparedOne(t *testing.T) {
	t.Parallel()
	p := exchange.Prepare(exchange.Verdict{
		Allow: true, Set: []exchange.Field{{Name: "x-user", Value: "ada"}}, Remove: []string{"x_user", "x-admin"}, Metadata: map[string]any{"seal": "s"}, Reason: "allowed",
	})
	for name, c := range map[string]struct {
		edit func(v *exchange.Verdict)
		same bool
	}{
		"untouched":              {func(*exchange.Verdict) {}, true},
		"reason":                 {func(v *exchange.Verdict) { v.Reason = "other" }, true},
		"response headers":       {func(v *exchange.Verdict) { v.ResponseSet = []exchange.Field{{Name: "vary", Value: "Origin"}} }, true},
		"denied":                 {func(v *exchange.Verdict) { v.Allow = false }, false},
		"reply":                  {func(v *exchange.Verdict) { v.Reply = exchange.Deny(403, "no") }, false},
		"route":                  {func(v *exchange.Verdict) { v.RecomputeRoute = true }, false},
		"header added":           {func(v *exchange.Verdict) { v.Add = []exchange.Field{{Name: "a", Value: "b"}} }, false},
		"header set":             {func(v *exchange.Verdict) { v.Set = append(v.Set, exchange.Field{Name: "a", Value: "b"}) }, false},
		"equal header":           {func(v *exchange.Verdict) { v.Set = []exchange.Field{{Name: "x-user", Value: "bob"}} }, false},
		"no header":              {func(v *exchange.Verdict) { v.Set = nil }, false},
		"fewer removed":          {func(v *exchange.Verdict) { v.Remove = v.Remove[:1] }, false},
		"others removed":         {func(v *exchange.Verdict) { v.Remove = []string{"x_user", "x-other"} }, false},
		"other metadata":         {func(v *exchange.Verdict) { v.Metadata = map[string]any{"seal": "t"} }, false},
		"no metadata":            {func(v *exchange.Verdict) { v.Metadata = nil }, false},
		"another verdict":        {func(v *exchange.Verdict) { *v = exchange.Verdict{Allow: true} }, false},
		"another's, same values": {func(v *exchange.Verdict) { v.Set = []exchange.Field{{Name: "x-user", Value: "ada"}} }, false},
	} {
		v := p.Verdict()
		c.edit(&v)
		if got := v.Prepared() == p; got != c.same {
			t.Errorf("%s: %v", name, got)
		}
	}
	if v := (exchange.Verdict{Allow: true}); v.Prepared() != nil {
		t.Error("a plain verdict is prepared")
	}
}

func TestAFormIsBuiltOnce(t *testing.T) {
	t.Parallel()
	p := exchange.Prepare(exchange.Verdict{Allow: true, Reason: "allowed"})
	built := 0
	for range 3 {
		form := p.Form(func(v *exchange.Verdict) any { built++; return v.Reason })
		if form != "allowed" || built != 1 {
			t.Error(form, built)
		}
	}
}
