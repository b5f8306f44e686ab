package sdk

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// metrics are a server's instruments. The handles of labelled ones are resolved here, once: a look-up by
// label costs more than the rest of a measurement.
type metrics struct {
	extproc *extprocVectors // nil for a server without a Processor
	phases  [phases]prometheus.Observer
	open    prometheus.Gauge
	passed  prometheus.Counter
	replies [classes]prometheus.Counter
	// failures are by cause, failed is for other causes.
	failures  map[error]prometheus.Counter
	failed    prometheus.Counter
	gone      prometheus.Counter
	unmet     prometheus.Counter
	sheds     prometheus.Counter
	bytes     [2]prometheus.Counter
	edits     prometheus.Counter
	prevented prometheus.Counter
	left      prometheus.Counter
	limit     prometheus.Gauge

	check     prometheus.Observer
	allowed   prometheus.Counter
	denials   [classes]prometheus.Counter
	broken    map[string]prometheus.Counter
	authShed  prometheus.Counter
	authLimit prometheus.Gauge
}

// classes are the first digits of final statuses, 2 to 5, as indexes.
const classes = 6

// seconds are the limits of latency buckets: an answer from memory takes microseconds, one that asks
// somebody milliseconds, and Envoy's default patience is 0.2 s.
var seconds = []float64{2.5e-5, 1e-4, 2.5e-4, 1e-3, 2.5e-3, 1e-2, 2.5e-2, 0.1, 0.2, 0.5, 1, 2.5, 10}

// newMetrics registers with r what a server of p's kind measures.
func newMetrics(r prometheus.Registerer, p any) (*metrics, error) {
	m := &metrics{}
	var errs []error
	if _, ok := p.(Processor); ok {
		var err error
		m.extproc, err = newExtProcVectors(r)
		errs = append(errs, err)
	}
	if _, ok := p.(Authorizer); ok {
		errs = append(errs, m.registerExtAuthz(r))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) registerExtAuthz(r prometheus.Registerer) error {
	latency, err1 := register(r, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gatehouse_extauthz_check_seconds", Help: "Time from a check to its verdict.", Buckets: seconds,
	}))
	verdicts, err2 := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_extauthz_checks_total",
		Help: "Checks that are over, by verdict: allowed, or the class of the status of the denial.",
	}, []string{"verdict"}))
	failures, err3 := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_extauthz_failures_total", Help: "Denials because no decision was possible, by cause.",
	}, []string{"cause"}))
	sheds, err4 := register(r, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_extauthz_shed_total", Help: "Checks refused because there were too many at a time.",
	}))
	limit, err5 := register(r, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatehouse_extauthz_limit", Help: "How many checks are served at a time; 0 is no bound.",
	}))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	m.check, m.allowed, m.authShed, m.authLimit = latency, verdicts.WithLabelValues("allowed"), sheds, limit
	m.denials = byClass(verdicts)
	m.broken = map[string]prometheus.Counter{}
	for reason, name := range map[string]string{
		exchange.ReasonMalformed: "malformed", exchange.ReasonError: "error", exchange.ReasonPanic: "panic",
		exchange.ReasonUnsendable: "unsendable", exchange.ReasonLate: "late", reasonOverloaded: "overloaded", reasonNotReady: "not_ready",
	} {
		m.broken[reason] = failures.WithLabelValues(name)
	}
	return nil
}

func byClass(v *prometheus.CounterVec) (c [classes]prometheus.Counter) {
	for i := range c {
		c[i] = v.WithLabelValues(strconv.Itoa(max(i, 2)) + "xx")
	}
	return c
}

// register returns the collector that another server in this process has registered before, if any.
func register[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	err := r.Register(c)
	if already, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := already.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}

// verdict has the form of an extauthz.OnVerdict observer.
func (m *metrics) verdict(_ context.Context, _ *exchange.Request, v exchange.Verdict, took time.Duration) {
	m.check.Observe(took.Seconds())
	if v.Allow {
		m.allowed.Inc()
		return
	}
	reply := v.Reply
	if reply == nil {
		reply = exchange.Deny(403, "")
	}
	m.denials[class(reply)].Inc()
	if c := m.broken[v.Reason]; c != nil {
		c.Inc()
	}
}

func class(r *exchange.Reply) int { return r.Status() / 100 }
