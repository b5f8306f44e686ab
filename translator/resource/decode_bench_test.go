package resource_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

func BenchmarkDecodeSecurityPolicy(b *testing.B) {
	text, err := os.ReadFile(filepath.Join(handbook, "17-sp-jwt.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		resource.Decode(text)
	}
}
