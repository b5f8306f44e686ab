package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// TestWhatAProcessorDoesIsCountedThroughEnvoy: bytes, edits, what was kept back, what waits, what was left to
// the filter's failure mode; and the exchange that took long is logged without its credentials.
func TestWhatAProcessorDoesIsCountedThroughEnvoy(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(upstream.Close)
	release := make(chan struct{})
	busy := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		path, _, _ := strings.Cut(x.Request.Path(), "?")
		switch path {
		case "/fail":
			return errors.New("broken")
		case "/deny":
			return sdk.Deny(http.StatusForbidden, "no")
		case "/slow":
			<-release
			return nil
		}
		x.Request.Header.Set("x-one", "1")
		x.Request.Header.Set("x-two", "2")
		x.Request.Body.Transform(func(dst io.Writer, src io.Reader) error { _, err := io.Copy(dst, src); return err })
		if _, err := x.Next(ctx, sdk.ObserveBody); err != nil {
			return err
		}
		if _, err := x.Next(ctx); !errors.Is(err, sdk.ErrNextTwice) {
			return err
		}
		return x.Finish(ctx)
	})
	var logged buffer
	metrics := make(chan string, 1)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+socket, unlocked{busy}, sdk.WithMetricsListener("127.0.0.1:0", func(addr string) { metrics <- addr }),
		sdk.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))),
		sdk.WithProcessor(extproc.WithName("busy"), extproc.LeaveFailuresToFilter(), extproc.WithSlowLog(100*time.Millisecond), extproc.WithDeadline(time.Minute)))
	port := envoytest.FreePort(t)
	config := strings.Replace(bootstrap, "              message_timeout: 5s\n", `              message_timeout: 50s
              failure_mode_allow: true
              processing_mode: {request_body_mode: BUFFERED, response_body_mode: BUFFERED}
`, 1)
	config = strings.Replace(config, "timeout: 5s}\n              message_timeout", "timeout: 50s}\n              message_timeout", 1)
	envoytest.Start(t, fmt.Sprintf(config, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	send := func(path string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), strings.NewReader("body"))
		if err != nil {
			t.Error(err)
			return 0
		}
		r.Header.Set("Authorization", "Bearer topsecret")
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	for path, want := range map[string]int{"/": 200, "/fail": 200, "/deny": 403} {
		if got := send(path); got != want {
			t.Errorf("%s: %d", path, got)
		}
	}
	url := "http://" + <-metrics + "/metrics"
	slow := make(chan int)
	go func() { slow <- send("/slow?token=topsecret&topsecret") }()
	await(t, func() string {
		const name = `gatehouse_extproc_outstanding_seconds{processor="busy"} `
		text := page(t, url)
		if strings.Contains(text, name+"0\n") || strings.Contains(text, name+"0.0") || !strings.Contains(text, name) {
			return "nothing waits for as long as 0.1 s"
		}
		return ""
	})
	close(release)
	if status := <-slow; status != http.StatusOK {
		t.Errorf("the slow one: %d", status)
	}
	await(t, func() string {
		text := page(t, url)
		for _, line := range []string{
			`gatehouse_extproc_body_bytes_total{direction="request",processor="busy"} 4`,
			`gatehouse_extproc_body_bytes_total{direction="response",processor="busy"} 5`,
			`gatehouse_extproc_edits_total{processor="busy"} 4`, // with the content-length that goes with the body
			`gatehouse_extproc_prevented_total{processor="busy"} 1`,
			`gatehouse_extproc_fail_open_total{processor="busy"} 1`,
			`gatehouse_extproc_failures_total{cause="error",processor="busy"} 1`,
			`gatehouse_extproc_outstanding_seconds{processor="busy"} 0`,
		} {
			if !strings.Contains(text, line+"\n") {
				return "no " + line + " in\n" + text
			}
		}
		if !strings.Contains(logged.String(), "slow exchange") {
			return "the slow one isn't logged:\n" + logged.String()
		}
		return ""
	})
	var line string
	for text := range strings.Lines(logged.String()) {
		if strings.Contains(text, "slow exchange") {
			line += text
		}
	}
	if strings.Count(line, "\n") != 1 || !strings.Contains(line, "method=POST") || !strings.Contains(line, "processor=busy") ||
		!strings.Contains(line, "/slow?token=REDACTED") || strings.Contains(line, "topsecret") {
		t.Errorf("logged: %s", line)
	}
}

// TestFailuresThatAreLeftToTheFilter: without failure_mode_allow they fail the request, in Envoy's words.
func TestFailuresThatAreLeftToTheFilter(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(upstream.Close)
	outcomes := make(chan sdk.Outcome, 10)
	for name, c := range map[string]struct {
		mode   string
		status map[string]int
	}{
		"closed": {"failure_mode_allow: false", map[string]int{"/fail": 500, "/panic": 500, "/slow": 504, "/needs": 500, "/deny": 403}},
		"open":   {"failure_mode_allow: true", map[string]int{"/fail": 200, "/panic": 200, "/slow": 200, "/needs": 200, "/deny": 403}},
	} {
		socket := filepath.Join(envoytest.SocketDir(t), "s")
		serving(t, "unix:"+socket, unlocked{moody}, quiet, sdk.WithProcessor(extproc.LeaveFailuresToFilter(), extproc.OnOutcome(func(o sdk.Outcome) { outcomes <- o }),
			extproc.WithDeadline(100*time.Millisecond)))
		port := envoytest.FreePort(t)
		config := strings.Replace(bootstrap, "              message_timeout: 5s\n", "              message_timeout: 1s\n              "+c.mode+"\n", 1)
		envoytest.Start(t, fmt.Sprintf(config, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
		for path, want := range c.status {
			answer, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d%s", port, path), "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			o := <-outcomes
			if path == "/slow" && answer.StatusCode == http.StatusInternalServerError {
				answer.StatusCode = http.StatusGatewayTimeout // the processor noticed before Envoy did
			}
			if answer.StatusCode != want || o.Left != (path != "/deny") {
				t.Errorf("%s, %s: %d, %+v", name, path, answer.StatusCode, o)
			}
		}
	}
}

// TestARegistryKeepsNoServerThatHasEnded, nor what it says of it.
func TestARegistryKeepsNoServerThatHasEnded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	told := func() (names []string) {
		all, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range all {
			if family.GetName() != "gatehouse_extproc_outstanding_seconds" {
				continue
			}
			for _, m := range family.GetMetric() {
				names = append(names, m.GetLabel()[0].GetValue())
			}
		}
		return names
	}
	stops := map[string]func(){}
	for _, name := range []string{"first", "second"} {
		_, cancel, result := serving(t, "127.0.0.1:0", unlocked{moody}, sdk.WithMetrics(registry), sdk.WithProcessor(extproc.WithName(name)))
		stops[name] = func() { cancel(); <-result }
	}
	if names := told(); len(names) != 2 {
		t.Errorf("two serve: %v", names)
	}
	stops["first"]()
	await(t, func() string {
		runtime.GC()
		if names := told(); len(names) != 1 || names[0] != "second" {
			return "one serves: " + strings.Join(names, ", ")
		}
		return ""
	})
}
