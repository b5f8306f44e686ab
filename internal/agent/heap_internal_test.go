package agent

import (
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

func TestSmallHeapsAreCollectedSeldomAndLargeOnesAsUsual(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{
		0: 800, 1 << 20: 800, 4 << 20: 800, 8 << 20: 400, 16 << 20: 200, 32 << 20: 100, 33 << 20: 100, 10 << 30: 100,
	} {
		if got := percentFor(live); got != want {
			t.Errorf("%d MiB: %d, want %d", live>>20, got, want)
		}
	}
}

func TestTheHeapsFloorFollowsTheHeap(t *testing.T) {
	t.Parallel()
	var set []int
	h := newHeapFloor()
	h.fixed = false
	h.set = func(percent int) int { set = append(set, percent); return 0 }
	ballast := make([]byte, 64<<20) // counts before any collection has seen it
	h.loaded()
	runtime.GC()
	h.tick()
	if h.percent != defaultPercent || len(set) != 0 {
		t.Errorf("with a large heap: %d, set %v", h.percent, set)
	}
	runtime.KeepAlive(ballast)
	fixed := newHeapFloor()
	fixed.fixed = true
	fixed.set = func(int) int { t.Error("GOGC is changed although the operator has set it"); return 0 }
	fixed.loaded()
	fixed.tick()
}

// BenchmarkVerdictUnderGC decides as a small gateway does: a few MiB live, and garbage with each verdict, which
// is evaluated each time because the module mentions the time.
func BenchmarkVerdictUnderGC(b *testing.B) {
	p, err := policy.Compile(&config.Policy{Name: "a/b", OPA: &config.OPA{
		Timeout: time.Second,
		Modules: []config.Module{{Name: "m", Source: config.Source{Inline: "package envoy.authz\nimport rego.v1\nnow := time.now_ns()\ndefault allow := false\nallow if input.attributes.request.http.method == \"GET\""}}},
	}}, policy.Deps{})
	if err != nil {
		b.Fatal(err)
	}
	r := exchange.NewRequest(exchange.Head{Method: "GET", Path: "/things"}, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil)
	runtime.GC()
	for _, percent := range []int{100, maxPercent} {
		b.Run("GOGC="+strconv.Itoa(percent), func(b *testing.B) {
			defer debug.SetGCPercent(debug.SetGCPercent(percent))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if v, err := p.Check(b.Context(), r); err != nil || !v.Allow {
						b.Error(v.Reason, err)
					}
				}
			})
		})
	}
}
