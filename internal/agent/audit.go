package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// Audit tells of verdicts: one log line a denial, and counters.
type Audit struct {
	log     *slog.Logger
	count   *prometheus.CounterVec
	seconds prometheus.Histogram
}

// NewAudit returns an Audit. registerer may be nil.
func NewAudit(log *slog.Logger, registerer prometheus.Registerer) *Audit {
	a := &Audit{
		log: log,
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_authorizer_verdicts_total", Help: "Verdicts by outcome and reason.",
		}, []string{"allowed", "reason"}),
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
	allowed := "false"
	if v.Allow {
		allowed = "true"
	}
	a.count.WithLabelValues(allowed, v.Reason).Inc()
	if v.Allow || v.Reply != nil && v.Reply.Status() < 300 { // a preflight's 204 is no denial
		return
	}
	status := 403
	if v.Reply != nil {
		status = v.Reply.Status()
	}
	route, _ := r.Extension(envoy.ExtensionRoute)
	ref, _ := r.Extension(envoy.ExtensionPolicy)
	a.log.LogAttrs(ctx, slog.LevelInfo, "denied",
		slog.String("request_id", r.Header.Get("x-request-id")), slog.String("route", route), slog.String("policy", ref),
		slog.Int("status", status), slog.String("reason", v.Reason))
}
