package kubestatus_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/statuscases"
)

// TestAncestorsBeyondTheLimitAreTold: the API has room for 16; the last of them says what is left out.
func TestAncestorsBeyondTheLimitAreTold(t *testing.T) {
	t.Parallel()
	var text, refs strings.Builder
	for i := range 30 {
		fmt.Fprintf(&text, "Gateway g%02d: {gatewayClassName: c, listeners: [{name: http, port: %d, protocol: HTTP}]}\n", i, 8100+i)
		fmt.Fprintf(&refs, "<Gateway g%02d>, ", i)
	}
	fmt.Fprintf(&text, "SecurityPolicy p: {targetRefs: [%s], cors: {allowOrigins: [\"https://a.example\"]}}\n", strings.TrimSuffix(refs.String(), ", "))
	for _, o := range render(t, statuscases.Manifests(t, text.String())) {
		if o.Kind != "SecurityPolicy" {
			continue
		}
		if len(o.Status.Ancestors) != 16 {
			t.Fatalf("%d ancestors, want 16", len(o.Status.Ancestors))
		}
		for i, a := range o.Status.Ancestors {
			last := a.Conditions[len(a.Conditions)-1]
			if told := last.Type == "Aggregated"; told != (i == 15) {
				t.Errorf("ancestor %d: %+v", i, a.Conditions)
			} else if told && !strings.Contains(last.Message, "14 more, 0 of them not accepted, are left out: default/g16, default/g17") {
				t.Errorf("message %q", last.Message)
			}
		}
	}
}
