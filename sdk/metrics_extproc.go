package sdk

import (
	"errors"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// extprocVectors are what servers that share a registry measure of processors, each under its name.
type extprocVectors struct {
	latency                          *prometheus.HistogramVec
	open, limit                      *prometheus.GaugeVec
	verdicts, failures, sheds, unmet *prometheus.CounterVec
	bytes, edits, prevented, left    *prometheus.CounterVec
	waiting                          *outstanding
}

func newExtProcVectors(r prometheus.Registerer) (*extprocVectors, error) {
	var v extprocVectors
	var errs []error
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c, err := register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"processor"}, labels...)))
		errs = append(errs, err)
		return c
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		g, err := register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"processor"}))
		errs = append(errs, err)
		return g
	}
	var err error
	v.latency, err = register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gatehouse_extproc_phase_seconds", Help: "Time from a message of Envoy's to its answer, by phase.", Buckets: seconds,
	}, []string{"processor", "phase"}))
	errs = append(errs, err)
	v.waiting, err = register(r, newOutstanding())
	errs = append(errs, err)
	v.open = gauge("gatehouse_extproc_exchanges", "Exchanges being served now.")
	v.limit = gauge("gatehouse_extproc_limit", "How many exchanges are served at a time; 0 is no bound.")
	v.verdicts = counter("gatehouse_extproc_exchanges_total",
		"Exchanges that are over, by verdict: passed, or the class of the status of the reply in place of the upstream's, or ended by the client, Envoy or upstream.", "verdict")
	v.failures = counter("gatehouse_extproc_failures_total", "Failures, by cause.", "cause")
	v.sheds = counter("gatehouse_extproc_shed_total", "Exchanges refused because there were too many at a time.")
	v.unmet = counter("gatehouse_extproc_unmet_needs_total", "Exchanges in which the filter's configuration forbids what the processor needs.")
	v.bytes = counter("gatehouse_extproc_body_bytes_total", "Bytes of bodies that came to the processor.", "direction")
	v.edits = counter("gatehouse_extproc_edits_total", "Edits that were sent: names of headers and trailers, path, status, and bodies.")
	v.prevented = counter("gatehouse_extproc_prevented_total",
		"What was not sent to Envoy because it would have been a fault of the protocol, or ignored.")
	v.left = counter("gatehouse_extproc_fail_open_total", "Failures that were left to the filter's failure mode, which may let the request pass.")
	return &v, errors.Join(errs...)
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

// bind resolves the handles of one processor's server.
func (m *metrics) bind(served *extproc.Server) {
	v, name := m.extproc, served.Name()
	for i, phase := range phaseNames {
		m.phases[i] = v.latency.WithLabelValues(name, phase)
	}
	m.open, m.limit = v.open.WithLabelValues(name), v.limit.WithLabelValues(name)
	m.passed, m.gone = v.verdicts.WithLabelValues(name, "passed"), v.verdicts.WithLabelValues(name, "ended")
	m.replies = byClass(v.verdicts.MustCurryWith(prometheus.Labels{"processor": name}))
	m.failed = v.failures.WithLabelValues(name, "error")
	m.failures = map[error]prometheus.Counter{}
	for cause, label := range causes {
		m.failures[cause] = v.failures.WithLabelValues(name, label)
	}
	m.sheds, m.unmet = v.sheds.WithLabelValues(name), v.unmet.WithLabelValues(name)
	m.bytes[0], m.bytes[1] = v.bytes.WithLabelValues(name, "request"), v.bytes.WithLabelValues(name, "response")
	m.edits, m.prevented, m.left = v.edits.WithLabelValues(name), v.prevented.WithLabelValues(name), v.left.WithLabelValues(name)
	v.waiting.add(served)
}

// outcome counts an exchange that is over.
func (m *metrics) outcome(o exchange.Outcome) {
	if o.Err != nil {
		m.failure(o)
	}
	switch {
	case o.Left:
		m.left.Inc()
	case o.Reply != nil:
		m.replies[class(o.Reply)].Inc()
	case errors.Is(o.Err, exchange.ErrEnded):
		m.gone.Inc()
	default:
		m.passed.Inc()
	}
	for i, n := range [...]int64{o.RequestBytes, o.ResponseBytes} {
		if n > 0 {
			m.bytes[i].Add(float64(n))
		}
	}
	if o.Edits > 0 {
		m.edits.Add(float64(o.Edits))
	}
	if o.Prevented > 0 {
		m.prevented.Add(float64(o.Prevented))
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

// outstanding tells, when it is asked, for how long Envoy waits for each processor. Its registry may outlive
// many servers, which it doesn't keep.
type outstanding struct {
	desc *prometheus.Desc

	mu     sync.Mutex
	served []weak.Pointer[extproc.Server]
}

func newOutstanding() *outstanding {
	return &outstanding{desc: prometheus.NewDesc("gatehouse_extproc_outstanding_seconds",
		"Age of the oldest message that waits for its answer; 0 if none does.", []string{"processor"}, nil)}
}

func (o *outstanding) add(served *extproc.Server) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.served = append(o.served, weak.Make(served))
}

// living are the servers that are left.
func (o *outstanding) living() (servers []*extproc.Server) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.served = slices.DeleteFunc(o.served, func(p weak.Pointer[extproc.Server]) bool {
		server := p.Value()
		if server != nil {
			servers = append(servers, server)
		}
		return server == nil
	})
	return servers
}

// Describe implements [prometheus.Collector].
func (o *outstanding) Describe(to chan<- *prometheus.Desc) { to <- o.desc }

// Collect implements [prometheus.Collector].
func (o *outstanding) Collect(to chan<- prometheus.Metric) {
	oldest := map[string]time.Duration{}
	for _, served := range o.living() {
		_, age := served.Outstanding()
		oldest[served.Name()] = max(oldest[served.Name()], age)
	}
	for name, age := range oldest {
		to <- prometheus.MustNewConstMetric(o.desc, prometheus.GaugeValue, age.Seconds(), name)
	}
}
