package resource_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// TestSlipInANameLeavesThePolicyWhereItBelongs: it must not become another policy, or one for nothing.
func TestSlipInANameLeavesThePolicyWhereItBelongs(t *testing.T) {
	t.Parallel()
	const policy = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p, namespace: tenant, labels: {a: b}}\n" +
		"spec:\n  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]\n  basicAuth: {users: {name: u}}\n"
	for name, replace := range map[string][2]string{
		"namespace": {"namespace:", "namespac:"},
		"name":      {"{name: p", "{nam: p"},
		"metadata":  {"metadata:", "metdata:"},
		"spec":      {"spec:", "specs:"},
		"labels":    {"labels:", "lables:"},
	} {
		b := resource.NewBuilder(nil)
		b.Add(resource.Decode([]byte(strings.Replace(policy, replace[0], replace[1], 1))), resource.Origin{File: "f", Line: 1})
		set, problems := b.Build()
		p, ok := set.SecurityPolicies.Get("tenant", "p")
		switch {
		case !ok || p.Invalid == "" || len(p.Spec.TargetRefs) != 1:
			t.Errorf("%s misspelt: %+v", name, p)
		case name == "labels" && p.Labels["a"] != "b":
			t.Errorf("the labels are %v", p.Labels)
		}
		if len(problems) != 1 || !strings.Contains(problems[0].String(), "did you mean "+name+"?") {
			t.Errorf("%s misspelt: problems %v", name, problems)
		}
	}
}
