package rego

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// Bundle is what one bundle brings to a policy. It is immutable and may belong to several.
type Bundle struct {
	// Name is for error messages.
	Name    string
	Modules map[string]*ast.Module
	// Documents is the tree below `data`.
	Documents map[string]any
	// Roots are the paths below `data` that are the bundle's own, such as "app/rules"; "" is all of it, and
	// then only what the bundle has is its own.
	Roots []string
}

// Version returns the language version of a policy's modules.
func Version(spec *config.OPA) ast.RegoVersion {
	if spec.RegoV0 {
		return ast.RegoV0
	}
	return ast.RegoV1
}

// Parse checks the policy's own modules and documents as far as that can be done without its bundles: what
// the modules refer to may be in one of those.
func Parse(spec *config.OPA, data config.Data) error {
	if _, err := loadDocuments(spec.Documents, data); err != nil {
		return err
	}
	_, err := loadModules(spec, data)
	return err
}

// addBundles joins bundles with what is there already. Nobody adds to what another one defines: a rule that
// joined a package of the same name would be one more way to allow.
func addBundles(bundles []*Bundle, modules map[string]*ast.Module, documents map[string]any) error {
	owners := newOwners()
	for name, module := range modules {
		owners.add(name, module)
	}
	for i, b := range bundles {
		if err := disjoint(b, bundles[:i], owners, documents); err != nil {
			return err
		}
		if at := merge(documents, b.Documents); at != "" {
			return fmt.Errorf("opa.bundles[%d]: %s is in another document too", i, at)
		}
		for name, module := range b.Modules {
			modules[fmt.Sprintf("bundles[%d]/%s", i, strings.TrimPrefix(name, "/"))] = module
		}
		for _, module := range b.Modules {
			owners.add(b.Name, module)
		}
	}
	return nil
}

func disjoint(b *Bundle, before []*Bundle, owners *owners, documents map[string]any) error {
	for _, root := range b.Roots {
		if root == "" {
			continue
		}
		// All of a root is the bundle's, as if it had rules with any name there.
		if owner, taken := owners.of(place{path: root, open: true}); taken {
			return fmt.Errorf("opa.bundles: %s has rules below the root %s of %s; rename one of them", owner, root, b.Name)
		}
		if has(documents, root) {
			return fmt.Errorf("opa.bundles: another document has values below the root %s of %s; rename one of them", root, b.Name)
		}
		for _, other := range before {
			if slices.ContainsFunc(other.Roots, func(r string) bool { return r != "" && (within(r, root) || within(root, r)) }) {
				return fmt.Errorf("opa.bundles: %s and %s both own the root %s; give them separate roots", other.Name, b.Name, root)
			}
		}
	}
	var places []place
	for _, module := range b.Modules {
		places = append(places, placesOf(module)...)
	}
	for _, at := range places {
		if owner, taken := owners.of(at); taken {
			return fmt.Errorf("opa.bundles: %s and %s both define package %s; rename one of them", owner, b.Name, at.path)
		}
	}
	return outside(b, places, before)
}

// outside says what a bundle has below the roots of those before it.
func outside(b *Bundle, places []place, before []*Bundle) error {
	for _, other := range before {
		for _, root := range other.Roots {
			if root == "" {
				continue
			}
			if has(b.Documents, root) {
				return fmt.Errorf("opa.bundles: a document of %s has values below the root %s of %s; rename one of them", b.Name, root, other.Name)
			}
			for _, at := range places {
				if within(at.path, root) || at.open && within(root, at.path) {
					return fmt.Errorf("opa.bundles: %s has package %s, which is below a root of %s; rename it", b.Name, at.path, other.Name)
				}
			}
		}
	}
	return nil
}

// has reports whether a document has something at a path. A value that is no object takes all that is below it.
func has(document map[string]any, path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		below, found := document[name]
		if !found {
			return false
		}
		object, ok := below.(map[string]any)
		if !ok {
			return true
		}
		document = object
	}
	return true
}

func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }
