package resource_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// FuzzDecode: no input makes the decoder fail otherwise than by problems, and what it reports doesn't
// depend on chance.
func FuzzDecode(f *testing.F) {
	manifests, err := filepath.Glob(filepath.Join(handbook, "*.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range manifests {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{
		"", "---", "\xef\xbb\xbf", "{", "[1", "a: &a [*a]", "<<: 1", "? {a: b} : c", "!x y", "{\"a\":1}{\"b\":2}",
		"apiVersion: v1\nkind: List\nitems: [null, {}, {kind: List, items: [1]}]", "apiVersion: v1\nkind: Secret\ndata: []",
		policy("  jwt: {providers: [null]}\n"), policy("  opa: {modules: [null, 1]}\n"), policy("  extAuth: {contextExtensions: [null]}\n"),
		extension("  extProc: [null]\n"), policy("  cors: {\n"),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		one, problems := build(string(text))
		two, again := build(string(text))
		if !slices.Equal(problems, again) {
			t.Errorf("problems are %v, and then %v", problemTexts(problems), problemTexts(again))
		}
		if one.SecurityPolicies.Len() != two.SecurityPolicies.Len() {
			t.Error("the policies differ")
		}
		for _, policy := range one.SecurityPolicies.All() {
			key := resource.Key{Kind: "SecurityPolicy", Namespace: policy.Namespace, Name: policy.Name}
			if one.Invalid(key) != policy.Invalid {
				t.Errorf("invalid is %q in the set and %q in the policy", one.Invalid(key), policy.Invalid)
			}
			if policy.Invalid == "" {
				if _, err := resource.DecodeSecurityPolicy(policy.JSON); err != nil {
					t.Errorf("its own JSON is refused: %v", err)
				}
			}
		}
	})
}
