package agent

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

type reference string

func (r reference) Extension(key string) (string, bool) {
	return string(r), key == envoy.ExtensionPolicy
}

func (r reference) Extensions(func(key, value string) bool) {}

// BenchmarkPolicyLookup chooses one of a thousand policies. P2: no allocation.
func BenchmarkPolicyLookup(b *testing.B) {
	p := newPolicies(policy.Deps{}, slog.New(slog.DiscardHandler))
	snap := &snapshot.Snapshot{}
	for i := range 1000 {
		spec := &config.Policy{Name: fmt.Sprintf("a/%d", i), CORS: &config.CORS{}}
		snap.Policies = append(snap.Policies, snapshot.Policy{Ref: spec.Ref(), Spec: spec})
	}
	p.load(snap, time.Now())
	r := exchange.NewRequest(exchange.Head{}, exchange.Conn{}, exchange.Header{}, exchange.Body{}, reference(snap.Policies[500].Ref))
	b.ReportAllocs()
	for b.Loop() {
		if p.choose(r) == nil {
			b.Fatal("unknown")
		}
	}
}
