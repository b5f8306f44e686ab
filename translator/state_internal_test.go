package translator

import (
	"fmt"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// TestNothingStaysOfWhatIsGone: a gateway that runs for years must not remember every object it ever had.
func TestNothingStaysOfWhatIsGone(t *testing.T) {
	t.Parallel()
	set := func(n int) *resource.Set {
		b := resource.NewBuilder(nil)
		add := func(text string) { b.Add(resource.Decode([]byte(text)), resource.Origin{File: text}) }
		for i := range n {
			add(fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g%d}\nspec: {gatewayClassName: c, listeners: [{name: a, port: %d, protocol: HTTP}]}", i, 80+i))
			add(fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%[1]d}\nspec: {parentRefs: [{name: g%[1]d}, {kind: ListenerSet, name: l}], rules: [{backendRefs: [{name: s, port: 80}]}]}", i))
			add(fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: l%d}\nspec: {parentRef: {name: none}, listeners: [{name: a, port: 80, protocol: HTTP}]}", i))
			add(fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {name: b%d}\nspec: {endpoints: [{ip: {address: 127.0.0.1, port: 1}}]}", i))
			add(fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p%[1]d}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r%[1]d}], cors: {allowOrigins: [\"*\"]}}", i))
			add(fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: q%[1]d}\nspec: {targetSelectors: [{group: gateway.networking.k8s.io, kind: Gateway}], cors: {allowOrigins: [\"*\"]}}", i))
			add(fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: x%[1]d}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r%[1]d}], extProc: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b%[1]d}]}]}", i))
			add(fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {name: e%d}", i))
		}
		built, _ := b.Build()
		return built
	}
	s := New(Options{SealKey: []byte("key")}).newState()
	if full := s.translate(set(5)); len(full.Snapshot.Policies) == 0 || len(full.Conditions) == 0 {
		t.Fatal("the objects were no test: nothing is served or told")
	}
	s.translate(set(0))
	left := map[string]int{
		"values": len(s.values), "values of the graph": s.graph.Kept(), "units": len(s.assembly.units), "Gateways": len(s.assembly.gateways),
		"tables": len(s.assembly.tables), "policies": len(s.assembly.policies.held), "tellers": len(s.conditions.said),
		"conditions": len(s.conditions.list) + len(s.conditions.more), "hidden": len(s.hidden), "nodes of the graph": s.graph.Len(),
	}
	for what, n := range left {
		if n > 0 {
			t.Errorf("%d %s are left", n, what)
		}
	}
}
