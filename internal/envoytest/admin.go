package envoytest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// Socket returns the path of the admin interface's Unix socket.
func (e *Envoy) Socket() string { return e.socket }

// Get returns the answer of the admin interface to GET path, which may have a query.
func (e *Envoy) Get(t testing.TB, path string) string {
	t.Helper()
	body, err := e.get(t.Context(), path)
	if err != nil {
		t.Fatalf("envoy admin %s: %v", path, err)
	}
	return string(body)
}

// ConfigDump returns Envoy's whole configuration as JSON, endpoints included.
func (e *Envoy) ConfigDump(t testing.TB) string {
	t.Helper()
	return e.Get(t, "/config_dump?include_eds")
}

// Stat returns the value of the counter or gauge of that exact name, 0 if Envoy doesn't have it: many
// exist only after their first use.
func (e *Envoy) Stat(t testing.TB, name string) uint64 {
	t.Helper()
	return e.Stats(t, "^"+name+"$")[name]
}

// Stats returns the counters and gauges whose names match the regular expression.
func (e *Envoy) Stats(t testing.TB, pattern string) map[string]uint64 {
	t.Helper()
	stats := map[string]uint64{}
	for line := range strings.Lines(e.Get(t, "/stats?filter="+url.QueryEscape(pattern))) {
		name, text, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			continue
		}
		// Histograms and texts are not numbers and are left out.
		if value, err := strconv.ParseUint(text, 10, 64); err == nil {
			stats[name] = value
		}
	}
	return stats
}

func (e *Envoy) get(ctx context.Context, path string) ([]byte, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", e.socket)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://envoy"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, body)
	}
	return body, err
}
