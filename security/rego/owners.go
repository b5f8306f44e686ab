package rego

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// place is where rules are below data, as a path: app/rules. A rule may be elsewhere than its module's package says:
// that of `app.rules.allow` in package x is in x/app/rules, and of `rules[name]` it is only known that it is below
// x/rules, which is open.
type place struct {
	path string
	open bool
}

// placesOf returns the module's package and the other places of its rules, each once.
func placesOf(module *ast.Module) []place {
	pkg := make([]string, 0, len(module.Package.Path))
	for _, term := range module.Package.Path[1:] {
		name, _ := term.Value.(ast.String)
		pkg = append(pkg, string(name))
	}
	places := []place{{path: strings.Join(pkg, "/")}}
	seen := map[place]bool{places[0]: true}
	for _, rule := range module.Rules {
		if at := placeOf(pkg, rule.Head.Ref()); !seen[at] {
			seen[at] = true
			places = append(places, at)
		}
	}
	return places
}

func placeOf(pkg []string, ref ast.Ref) place {
	path := slices.Concat(pkg, []string{ref[0].Value.String()})
	for _, term := range ref[1:] {
		name, constant := term.Value.(ast.String)
		if !constant {
			return place{path: strings.Join(path, "/"), open: true}
		}
		path = append(path, string(name))
	}
	return place{path: strings.Join(path[:len(path)-1], "/")}
}

// owners are names of modules and bundles by where their rules are.
type owners struct {
	at, open map[string]string
	// above are the places further up: their owner has rules somewhere below.
	above map[string]string
}

func newOwners() *owners {
	return &owners{at: map[string]string{}, open: map[string]string{}, above: map[string]string{}}
}

func (o *owners) add(owner string, module *ast.Module) {
	for _, p := range placesOf(module) {
		if o.at[p.path] = owner; p.open {
			o.open[p.path] = owner
		}
		for path := range further(p.path) {
			o.above[path] = owner
		}
	}
}

// of returns who has rules where rules at p are or may be.
func (o *owners) of(p place) (owner string, taken bool) {
	if owner, taken = o.at[p.path]; taken {
		return owner, true
	}
	if owner, taken = o.above[p.path]; taken && p.open {
		return owner, true
	}
	for path := range further(p.path) {
		if owner, taken = o.open[path]; taken {
			return owner, true
		}
	}
	return "", false
}

// further goes up from a path, without the path itself.
func further(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(path, '/'); i >= 0; i = strings.LastIndexByte(path, '/') {
			if path = path[:i]; !yield(path) {
				return
			}
		}
	}
}
