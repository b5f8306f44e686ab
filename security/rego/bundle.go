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
	owners := map[string]string{}
	for name, module := range modules {
		owners[packageOf(module)] = name
	}
	for i, b := range bundles {
		if err := disjoint(b, bundles[:i], owners); err != nil {
			return err
		}
		if at := merge(documents, b.Documents); at != "" {
			return fmt.Errorf("opa.bundles[%d]: %s is in another document too", i, at)
		}
		for name, module := range b.Modules {
			modules[fmt.Sprintf("bundles[%d]/%s", i, strings.TrimPrefix(name, "/"))] = module
		}
		for _, module := range b.Modules {
			owners[packageOf(module)] = b.Name
		}
	}
	return nil
}

// packageOf returns a module's package as a path: app/rules.
func packageOf(module *ast.Module) string {
	names := make([]string, 0, len(module.Package.Path))
	for _, term := range module.Package.Path[1:] {
		name, _ := term.Value.(ast.String)
		names = append(names, string(name))
	}
	return strings.Join(names, "/")
}

func disjoint(b *Bundle, before []*Bundle, owners map[string]string) error {
	for _, root := range b.Roots {
		if root == "" {
			continue
		}
		for path, owner := range owners {
			if within(path, root) {
				return fmt.Errorf("opa.bundles: %s has package %s, which is below the root %s of %s; rename one of them", owner, path, root, b.Name)
			}
		}
		for _, other := range before {
			if slices.ContainsFunc(other.Roots, func(r string) bool { return r != "" && (within(r, root) || within(root, r)) }) {
				return fmt.Errorf("opa.bundles: %s and %s both own the root %s; give them separate roots", other.Name, b.Name, root)
			}
		}
	}
	for _, module := range b.Modules {
		path := packageOf(module)
		if owner, taken := owners[path]; taken {
			return fmt.Errorf("opa.bundles: %s and %s both define package %s; rename one of them", owner, b.Name, path)
		}
		for _, other := range before {
			if slices.ContainsFunc(other.Roots, func(r string) bool { return r != "" && within(path, r) }) {
				return fmt.Errorf("opa.bundles: %s has package %s, which is below a root of %s; rename it", b.Name, path, other.Name)
			}
		}
	}
	return nil
}

func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }
