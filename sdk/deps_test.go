package sdk_test

import (
	"os/exec"
	"strings"
	"testing"
)

// TestAnAuthorsBuildStaysSmall: whoever writes a processor must not get Kubernetes, OPA or JOSE with it.
func TestAnAuthorsBuildStaysSmall(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/gatehouse-proxy/gatehouse/"
	for dep := range strings.FieldsSeq(string(out)) {
		for _, banned := range []string{
			"k8s.io/", "sigs.k8s.io/", "github.com/open-policy-agent/", "github.com/lestrrat-go/",
			module + "security", module + "translator", module + "snapshot", module + "cmd",
		} {
			if strings.HasPrefix(dep, banned) {
				t.Errorf("package sdk depends on %s", dep)
			}
		}
		if rest, ok := strings.CutPrefix(dep, module+"internal/"); ok && rest != "wire" && rest != "verdict" {
			t.Errorf("package sdk depends on %s", dep)
		}
	}
}
