package sdk_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestAnAuthorsBuildStaysSmall: whoever writes a processor must not get Kubernetes, OPA or JOSE with it.
func TestAnAuthorsBuildStaysSmall(t *testing.T) {
	t.Parallel()
	list := func(args ...string) []string {
		out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	// Only tests import sdktest, which runs an Envoy.
	packages := slices.DeleteFunc(list("./..."), func(name string) bool { return strings.Contains(name, "/sdktest") })
	const module = "github.com/gatehouse-proxy/gatehouse/"
	for _, dep := range list(append([]string{"-deps"}, packages...)...) {
		for _, banned := range []string{
			"k8s.io/", "sigs.k8s.io/", "github.com/open-policy-agent/", "github.com/lestrrat-go/",
			module + "security", module + "translator", module + "snapshot", module + "cmd",
		} {
			if strings.HasPrefix(dep, banned) {
				t.Errorf("package sdk depends on %s", dep)
			}
		}
		if rest, ok := strings.CutPrefix(dep, module+"internal/"); ok && !slices.Contains([]string{"wire", "verdict", "mask", "unixsocket", "health", "tracing"}, rest) {
			t.Errorf("package sdk depends on %s", dep)
		}
	}
}
