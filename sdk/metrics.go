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
	phases   [phases]prometheus.Observer
	open     prometheus.Gauge
	passed   prometheus.Counter
	replies  [classes]prometheus.Counter
	failures map[error]prometheus.Counter
	failed   prometheus.Counter // for other causes
	gone     prometheus.Counter
	unmet    prometheus.Counter     // those of this server's processor
	unmetBy  *prometheus.CounterVec // processor
	sheds    prometheus.Counter

	check    prometheus.Observer
	allowed  prometheus.Counter
	denials  [classes]prometheus.Counter
	broken   map[string]prometheus.Counter
	authShed prometheus.Counter
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
		errs = append(errs, m.registerExtProc(r))
	}
	if _, ok := p.(Authorizer); ok {
		errs = append(errs, m.registerExtAuthz(r))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) registerExtProc(r prometheus.Registerer) error {
	latency, err1 := register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gatehouse_extproc_phase_seconds",
		Help:    "Time from a message of Envoy's to its answer, by phase.",
		Buckets: seconds,
	}, []string{"phase"}))
	open, err2 := register(r, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gatehouse_extproc_exchanges", Help: "Exchanges being served now.",
	}))
	verdicts, err3 := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_extproc_exchanges_total",
		Help: "Exchanges that are over, by verdict: passed, or the class of the status of the reply in place of the upstream's, or ended by the client, Envoy or upstream.",
	}, []string{"verdict"}))
	failures, err4 := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_extproc_failures_total", Help: "Failure verdicts, by cause.",
	}, []string{"cause"}))
	sheds, err5 := register(r, prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_extproc_shed_total", Help: "Exchanges refused because there were too many at a time.",
	}))
	unmet, err6 := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gatehouse_extproc_unmet_needs_total",
		Help: "Exchanges in which the filter's configuration forbids what the processor needs, by processor.",
	}, []string{"processor"}))
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return err
	}
	m.unmetBy = unmet
	for i, name := range phaseNames {
		m.phases[i] = latency.WithLabelValues(name)
	}
	m.open, m.sheds, m.passed, m.gone = open, sheds, verdicts.WithLabelValues("passed"), verdicts.WithLabelValues("ended")
	m.replies = byClass(verdicts)
	m.failed = failures.WithLabelValues("error")
	m.failures = map[error]prometheus.Counter{}
	for cause, name := range causes {
		m.failures[cause] = failures.WithLabelValues(name)
	}
	return nil
}

// causes are what an Outcome's Err may be, and the names they are counted by.
var causes = map[error]string{
	exchange.ErrPanicked: "panic",
	exchange.ErrTooSlow:  "deadline",
	exchange.ErrNeeds:    "needs",
	exchange.ErrBadEdit:  "bad_edit",
	ErrNoConfiguration:   "configuration",
	ErrBadConfiguration:  "configuration",
	ErrOverloaded:        "overloaded",
	ErrNotReady:          "not_ready",
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
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	m.check, m.allowed, m.authShed = latency, verdicts.WithLabelValues("allowed"), sheds
	m.denials = byClass(verdicts)
	m.broken = map[string]prometheus.Counter{}
	for reason, name := range map[string]string{
		exchange.ReasonMalformed: "malformed", exchange.ReasonError: "error", exchange.ReasonPanic: "panic",
		exchange.ReasonUnsendable: "unsendable", reasonOverloaded: "overloaded", reasonNotReady: "not_ready",
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

// outcome counts an exchange that is over.
func (m *metrics) outcome(o exchange.Outcome) {
	if o.Err != nil {
		m.failure(o)
	}
	switch {
	case o.Reply != nil:
		m.replies[class(o.Reply)].Inc()
	case errors.Is(o.Err, exchange.ErrEnded):
		m.gone.Inc()
	default:
		m.passed.Inc()
	}
}

func (m *metrics) failure(o exchange.Outcome) {
	if errors.Is(o.Err, exchange.ErrNeeds) {
		m.unmet.Inc()
	}
	for cause, counter := range m.failures {
		if errors.Is(o.Err, cause) {
			counter.Inc()
			return
		}
	}
	if !errors.Is(o.Err, exchange.ErrEnded) {
		m.failed.Inc()
	}
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
