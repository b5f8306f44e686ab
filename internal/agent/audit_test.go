package agent_test

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/agent"
)

// TestVerdictsAreCountedWithoutGarbage: by policy and reason, and a request's count allocates nothing, however
// many policies there are. It can't be parallel: it counts the process's allocations.
//
//nolint:paralleltest // see above
func TestVerdictsAreCountedWithoutGarbage(t *testing.T) {
	if testing.Short() {
		t.Skip("the race detector, for which the short tests are, makes pools forget")
	}
	registry := prometheus.NewRegistry()
	name := ""
	audit := agent.NewAudit(slog.New(slog.DiscardHandler), registry, func(*exchange.Request) string { return name })
	r := exchange.NewRequest(exchange.Head{Method: "GET"}, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil)
	for i := range 300 {
		name = "shop/" + strconv.Itoa(i%100)
		audit.Verdict(t.Context(), r, exchange.Verdict{Allow: i%3 > 0, Reason: "allowed", Reply: exchange.Deny(204, "")}, time.Millisecond)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, f := range families {
		if f.GetName() == "gatehouse_authorizer_verdicts_total" {
			series += len(f.GetMetric())
		}
	}
	if series != 200 {
		t.Errorf("%d series of a hundred policies with two outcomes each", series)
	}
	v := exchange.Verdict{Allow: true, Reason: "allowed"}
	if got := testing.AllocsPerRun(100, func() { audit.Verdict(t.Context(), r, v, time.Millisecond) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
}
