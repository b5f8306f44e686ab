package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/security/basic"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/decisionlog"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/security/geo"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

// collector shows what policies fetch, hash and log. It asks when it is asked: nothing is counted on the way of a
// request.
type collector struct {
	jwks      *jwt.Fetcher
	bundles   *bundle.Fetcher
	providers *discovery.Fetcher
	geo       *geo.Databases
	decisions *decisionlog.Log
}

// NewCollector returns the metrics of key sets, bundles, descriptions of OpenID providers, databases, password hashes and decision logs.
func NewCollector(jwks *jwt.Fetcher, bundles *bundle.Fetcher, providers *discovery.Fetcher, databases *geo.Databases, decisions *decisionlog.Log) prometheus.Collector {
	return &collector{jwks: jwks, bundles: bundles, providers: providers, geo: databases, decisions: decisions}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("gatehouse_"+name, help, labels, nil)
}

var (
	jwksKeys      = describe("jwks_keys", "Usable keys in force.", "uri")
	jwksMetrics   = fetchMetrics("jwks", "uri")
	bundleMetrics = fetchMetrics("bundle", "url")
	providerFetch = fetchMetrics("oidc_provider", "url")
	geoMetrics    = fetchMetrics("geoip_database", "path")
	geoBuilt      = describe("geoip_database_build_timestamp_seconds", "When the publisher made the contents in force; 0: there are none.", "path")
	bundleFaults  = describe("bundle_refused_policies", "Policies that can't use the newest contents.", "url")
	logWritten    = describe("decision_log_events_total", "Decisions that were logged.")
	hashes        = describe("authorizer_password_hashes_total", "Password hashes computed: of failures, and of successes not yet remembered.")
	logDropped    = describe("decision_log_dropped_total", "Decisions that were not logged: the queue was full, or the sink failed.")
)

// fetched are the metrics that every source has.
type fetched struct{ success, age, fetches, failures *prometheus.Desc }

func fetchMetrics(name, label string) fetched {
	return fetched{
		success:  describe(name+"_last_success_timestamp_seconds", "When it was last fetched; 0: never.", label),
		age:      describe(name+"_age_seconds", "How long ago it was last fetched; none before the first time.", label),
		fetches:  describe(name+"_fetches_total", "Fetches, failed ones included.", label),
		failures: describe(name+"_fetch_failures_total", "Failed fetches.", label),
	}
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range []fetched{jwksMetrics, bundleMetrics, providerFetch, geoMetrics} {
		out <- m.success
		out <- m.age
		out <- m.fetches
		out <- m.failures
	}
	for _, d := range []*prometheus.Desc{jwksKeys, bundleFaults, geoBuilt, logWritten, logDropped, hashes} {
		out <- d
	}
}

// tally is one label's state. Several sources may share a URL, under different CAs for one: the worst
// counts.
type tally struct {
	success           time.Time
	fetches, failures uint64
	number            float64
	seen              bool
}

func (t *tally) add(success time.Time, fetches, failures uint64) {
	if !t.seen || success.Before(t.success) {
		t.success = success
	}
	t.seen, t.fetches, t.failures = true, t.fetches+fetches, t.failures+failures
}

// Collect is part of prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	now := time.Now()
	keySets, bundles := map[string]*tally{}, map[string]*tally{}
	for _, s := range c.jwks.States() {
		t := at(keySets, s.Shown())
		if !t.seen || float64(s.Keys) < t.number {
			t.number = float64(s.Keys)
		}
		t.add(s.LastSuccess, s.Fetches, s.Failures)
	}
	for _, s := range c.bundles.States() {
		t := at(bundles, s.URL)
		t.add(s.LastSuccess, s.Fetches, s.Failures)
		for _, use := range s.Uses {
			if use.Fault != "" {
				t.number++
			}
		}
	}
	providers := map[string]*tally{}
	for _, s := range c.providers.States() {
		at(providers, s.URL).add(s.LastSuccess, s.Fetches, s.Failures)
	}
	databases := map[string]*tally{}
	for _, s := range c.geo.States() {
		t := at(databases, s.Path)
		t.add(s.LastSuccess, s.Looks, s.Failures)
		if !s.Built.IsZero() {
			t.number = float64(s.Built.Unix())
		}
	}
	emit(out, geoMetrics, geoBuilt, databases, now)
	emit(out, providerFetch, nil, providers, now)
	emit(out, jwksMetrics, jwksKeys, keySets, now)
	emit(out, bundleMetrics, bundleFaults, bundles, now)
	out <- prometheus.MustNewConstMetric(hashes, prometheus.CounterValue, float64(basic.Hashes()))
	written, dropped := c.decisions.Stats()
	out <- prometheus.MustNewConstMetric(logWritten, prometheus.CounterValue, float64(written))
	out <- prometheus.MustNewConstMetric(logDropped, prometheus.CounterValue, float64(dropped))
}

func at(all map[string]*tally, label string) *tally {
	if all[label] == nil {
		all[label] = &tally{}
	}
	return all[label]
}

func emit(out chan<- prometheus.Metric, m fetched, number *prometheus.Desc, all map[string]*tally, now time.Time) {
	for label, t := range all {
		success := 0.0
		if !t.success.IsZero() {
			success = float64(t.success.UnixMilli()) / 1000
			out <- prometheus.MustNewConstMetric(m.age, prometheus.GaugeValue, now.Sub(t.success).Seconds(), label)
		}
		out <- prometheus.MustNewConstMetric(m.success, prometheus.GaugeValue, success, label)
		out <- prometheus.MustNewConstMetric(m.fetches, prometheus.CounterValue, float64(t.fetches), label)
		out <- prometheus.MustNewConstMetric(m.failures, prometheus.CounterValue, float64(t.failures), label)
		if number != nil {
			out <- prometheus.MustNewConstMetric(number, prometheus.GaugeValue, t.number, label)
		}
	}
}
