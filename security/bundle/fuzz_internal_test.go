package bundle

import (
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/gatehouse-proxy/gatehouse/internal/bundletest"
)

// FuzzArchive: an archive of any bytes is a bundle or an error, and with a key that signed nothing always
// an error.
func FuzzArchive(f *testing.F) {
	private, public := bundletest.Key(f)
	files := map[string]string{".manifest": `{"roots": ["a"]}`, "a/a.rego": "package a\nx := 1", "a/data.json": `{"b": 1}`}
	f.Add(bundletest.Archive(f, files))
	f.Add(bundletest.Signed(f, files, private, "RS256"))
	f.Add(bundletest.Archive(f, map[string]string{"patch.json": "{}"}))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	_, other := bundletest.Key(f)
	keys, err := verification([]byte(other), "")
	if err != nil || public == other {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		if c, err := read("fuzz", archive, nil, ast.RegoV1); (c == nil) == (err == nil) {
			t.Fatalf("%v %v", c, err)
		}
		if _, err := read("fuzz", archive, keys, ast.RegoV1); err == nil {
			t.Error("a bundle that this key didn't sign is accepted")
		}
	})
}
