package admin

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/common/expfmt"
)

// Metrics returns the handler of the metrics port: /metrics and /stats/prometheus are one page with
// Envoy's metrics, ours, and gatehouse_envoy_up. Envoy writes no HELP lines and has no name that begins
// with gatehouse_, go_ or process_, so that one page after the other is a valid page.
//
// A query such as ?usedonly or ?filter= selects among Envoy's metrics. The handler is safe for
// concurrent use.
func Metrics(options Options) http.Handler {
	h := newHandler(options)
	return h.guard(false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/metrics" && r.URL.Path != "/stats/prometheus":
			http.Error(w, "this port has /metrics and /stats/prometheus", http.StatusNotFound)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			methodNotAllowed(w, "GET, HEAD")
		default:
			h.metrics(w, r)
		}
	}))
}

func (h *handler) metrics(w http.ResponseWriter, r *http.Request) {
	var page bytes.Buffer
	// Collected whole, since half a page would look like metrics that have gone.
	up := 1
	if err := h.envoyMetrics(&page, r); err != nil {
		h.Logger.Warn("envoy's metrics are missing from the page", "error", err)
		page.Reset()
		up = 0
	}
	if h.Envoy != nil {
		fmt.Fprintf(&page, "# HELP gatehouse_envoy_up Whether Envoy's admin interface answered this scrape.\n"+
			"# TYPE gatehouse_envoy_up gauge\ngatehouse_envoy_up %d\n", up)
	}
	if err := h.ownMetrics(&page); err != nil {
		h.Logger.Warn("metrics are missing from the page", "error", err)
	}
	w.Header().Set("Content-Type", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
	_, _ = page.WriteTo(w)
}

func (h *handler) envoyMetrics(page *bytes.Buffer, r *http.Request) error {
	if h.Envoy == nil {
		return nil
	}
	resp, err := h.ask(r, "/stats/prometheus", r.URL.RawQuery)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	if _, err := page.ReadFrom(resp.Body); err != nil {
		return err
	}
	if n := page.Len(); n > 0 && page.Bytes()[n-1] != '\n' {
		page.WriteByte('\n')
	}
	return nil
}

// ownMetrics writes what could be gathered even if some could not.
func (h *handler) ownMetrics(page io.Writer) error {
	if h.Gatherer == nil {
		return nil
	}
	families, gatherErr := h.Gatherer.Gather()
	encoder := expfmt.NewEncoder(page, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return err
		}
	}
	return gatherErr
}
