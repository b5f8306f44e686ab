package standalone

import (
	"context"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/xds"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// TestProgrammedIsOfTheStateThatIsTold: what Envoy said of one state is never told of the next, which came
// while it was asked.
func TestProgrammedIsOfTheStateThatIsTold(t *testing.T) {
	t.Parallel()
	tr := translator.New(translator.Options{ControllerNames: ControllerNames(), SealKey: []byte("key")})
	s := newStatuses()
	take := func(name string) {
		b := resource.NewBuilder(nil)
		b.Add(resource.Decode([]byte("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: "+name+"}\n"+
			"spec: {gatewayClassName: c, listeners: [{name: http, port: 8080, protocol: HTTP}]}")), resource.Origin{File: "f", Line: 1})
		set, problems := b.Build()
		s.update(set, problems, tr.Translate(set, nil), nil)
	}
	take("first")
	asked := 0
	s.live = live{
		databases:  func() []geo.State { return nil },
		rejections: func() []xds.Rejection { return nil },
		withheld:   func() map[string]error { return nil },
		keySets:    func() []jwt.State { return nil },
		bundles:    func() []bundle.State { return nil },
		providers:  func() []discovery.State { return nil },
		inForce: func(context.Context) bool {
			if asked++; asked == 1 {
				take("second") // Envoy has answered for the first, not yet for this one
				return true
			}
			return false
		},
	}
	objects, _ := s.objects(t.Context())
	if len(objects) != 1 || objects[0].Metadata.Name != "second" {
		t.Fatalf("objects %+v", objects)
	}
	for _, c := range objects[0].Status.Conditions {
		if c.Type == "Programmed" && c.Status == "True" {
			t.Error("Programmed is told of a state that Envoy hasn't answered for")
		}
	}
	if asked != 2 {
		t.Errorf("Envoy was asked %d times, want 2", asked)
	}
}
