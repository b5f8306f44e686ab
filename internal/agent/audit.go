package agent

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// Audit tells of verdicts: one log line a denial, counters, and the end of the check's span.
type Audit struct {
	log     *slog.Logger
	nameOf  func(*exchange.Request) string
	count   *prometheus.CounterVec
	seconds prometheus.Histogram

	// counters are those of count that were used, by outcome: to look one up by its labels costs more than a
	// verdict.
	counters sync.Map
}

// outcome is what verdicts are counted by. Reasons are constants, so there are few of each policy.
type outcome struct {
	policy  string
	allowed bool
	reason  string
}

func (a *Audit) counter(o outcome) prometheus.Counter {
	if known, found := a.counters.Load(o); found {
		return known.(prometheus.Counter) //nolint:forcetypeassert // nothing else is in the map
	}
	return a.newCounter(o)
}

// newCounter is apart, so that only a counter's first use puts the outcome on the heap.
func (a *Audit) newCounter(o outcome) prometheus.Counter {
	counter := a.count.WithLabelValues(o.policy, strconv.FormatBool(o.allowed), o.reason)
	a.counters.Store(o, counter)
	return counter
}

// NewAudit returns an Audit. registerer may be nil. nameOf returns the namespace/name of the policy that a request
// was judged by, "" for none: only what is loaded may be named, for each name has counters of its own.
func NewAudit(log *slog.Logger, registerer prometheus.Registerer, nameOf func(*exchange.Request) string) *Audit {
	a := &Audit{
		log: log, nameOf: nameOf,
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_authorizer_verdicts_total", Help: "Verdicts by policy, outcome and reason.",
		}, []string{"policy", "allowed", "reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatehouse_authorizer_verdict_seconds", Help: "Time to a verdict.",
			Buckets: []float64{1e-5, 2.5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 2},
		}),
	}
	if registerer != nil {
		registerer.MustRegister(a.count, a.seconds)
	}
	return a
}

// Verdict has the form of an [extauthz.OnVerdict] observer. Of the request it logs what names it in the
// access log too, never another header or the query, where credentials may stand.
func (a *Audit) Verdict(ctx context.Context, r *exchange.Request, v exchange.Verdict, took time.Duration) {
	a.seconds.Observe(took.Seconds())
	name := a.nameOf(r)
	route, _ := r.Extension(envoy.ExtensionRoute)
	a.counter(outcome{name, v.Allow, v.Reason}).Inc()
	endSpan(ctx, name, route, &v)
	if v.Allow || v.Reply != nil && v.Reply.Status() < 300 { // a preflight's 204 is no denial
		return
	}
	ref, named := r.Extension(envoy.ExtensionPolicy)
	if !named {
		ref = name
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "denied",
		slog.String("request_id", r.Header.Get("x-request-id")), slog.String("route", route), slog.String("policy", ref),
		slog.Int("status", statusOf(&v)), slog.String("reason", v.Reason))
}

// statusOf is the status of a denial.
func statusOf(v *exchange.Verdict) int {
	if v.Reply == nil {
		return http.StatusForbidden
	}
	return v.Reply.Status()
}
