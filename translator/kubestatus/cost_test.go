package kubestatus_test

import (
	"fmt"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// BenchmarkThousandRoutes measures what statuses cost beside the translation: the part at every edit, and
// the rendering when somebody asks.
func BenchmarkThousandRoutes(b *testing.B) {
	documents := []*resource.Document{resource.Decode([]byte(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: c, listeners: [{name: http, port: 8080, protocol: HTTP}]}`))}
	for i := range 1000 {
		documents = append(documents, resource.Decode(fmt.Appendf(nil, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r%d}
spec: {parentRefs: [{name: gw}], rules: [{matches: [{path: {value: /%d}}], backendRefs: [{name: s, port: 80}]}]}`, i, i)),
			resource.Decode(fmt.Appendf(nil, `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: p%d}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r%d}], cors: {allowOrigins: ["https://a.example"]}}`, i, i)))
	}
	set, problems := build(nil, documents)
	t := translator.New(translator.Options{ControllerNames: controllers(), SealKey: []byte("key")})
	result := t.Translate(set, nil)
	b.Run("render", func(b *testing.B) {
		for b.Loop() {
			kubestatus.Render(kubestatus.Input{
				Set: set, Problems: problems, Conditions: result.Conditions, Listeners: result.Listeners, Controllers: controllers(),
			})
		}
	})
}
