package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// moody does what the path says.
var moody = sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
	switch x.Request.Path() {
	case "/deny":
		return sdk.Deny(http.StatusForbidden, "no")
	case "/fail":
		return errors.New("broken")
	case "/panic":
		panic("out of order")
	case "/slow":
		<-ctx.Done()
		return ctx.Err()
	case "/needs":
		_, err := x.Request.Body.Bytes(1)
		return err
	}
	_, err := x.Next(ctx)
	return err
})

// page returns what a URL shows.
func page(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// await repeats check until it returns "".
func await(t *testing.T, check func() string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		fault := check()
		if fault == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(fault)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestMetricsThroughEnvoy(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(upstream.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	metrics := make(chan string, 1)
	serving(t, "unix:"+socket, unlocked{moody}, sdk.WithMetricsListener("127.0.0.1:0", func(addr string) { metrics <- addr }),
		sdk.WithProcessor(extproc.WithDeadline(50*time.Millisecond)))
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(bootstrap, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	for path, want := range map[string]int{"/": 404, "/deny": 403, "/fail": 503, "/panic": 503, "/slow": 503, "/needs": 503} {
		method := http.MethodPost
		r, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
	}
	url := "http://" + <-metrics + "/metrics"
	await(t, func() string {
		text := page(t, url)
		for _, line := range []string{
			`gatehouse_extproc_exchanges_total{processor="processor",verdict="passed"} 1`,
			`gatehouse_extproc_exchanges_total{processor="processor",verdict="4xx"} 1`,
			`gatehouse_extproc_exchanges_total{processor="processor",verdict="5xx"} 4`,
			`gatehouse_extproc_exchanges_total{processor="processor",verdict="ended"} 0`,
			`gatehouse_extproc_failures_total{cause="error",processor="processor"} 1`,
			`gatehouse_extproc_failures_total{cause="panic",processor="processor"} 1`,
			`gatehouse_extproc_failures_total{cause="deadline",processor="processor"} 1`,
			`gatehouse_extproc_failures_total{cause="needs",processor="processor"} 1`,
			`gatehouse_extproc_exchanges{processor="processor"} 0`,
			`gatehouse_extproc_phase_seconds_count{phase="request_headers",processor="processor"} 6`,
			`gatehouse_extproc_phase_seconds_bucket{phase="request_headers",processor="processor",le="0.025"} 5`, // all but the slow one
			`gatehouse_extproc_phase_seconds_count{phase="response_headers",processor="processor"} 1`,
			`gatehouse_extauthz_checks_total{verdict="allowed"} 6`,
			`gatehouse_extauthz_check_seconds_count 6`,
			`go_goroutines `,
		} {
			if !strings.Contains(text, line) {
				return "no " + line + " in\n" + text
			}
		}
		return ""
	})
}

func TestShedsAreCounted(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	metrics := make(chan string, 1)
	addr, _, _ := serving(t, "127.0.0.1:0", waiting, sdk.WithMaxExchanges(1), sdk.WithMetrics(registry),
		sdk.WithMetricsListener("127.0.0.1:0", func(addr string) { metrics <- addr }))
	conn := dial(t, addr)
	open(t, conn)
	ask(t, conn)
	url := "http://" + <-metrics + "/metrics"
	await(t, func() string {
		text := page(t, url)
		for _, line := range []string{
			`gatehouse_extproc_shed_total{processor="processor"} 1`, `gatehouse_extproc_failures_total{cause="overloaded",processor="processor"} 1`,
			`gatehouse_extproc_exchanges_total{processor="processor",verdict="5xx"} 1`, `gatehouse_extproc_exchanges{processor="processor"} 1`,
		} {
			if !strings.Contains(text, line) {
				return "no " + line + " in\n" + text
			}
		}
		return ""
	})
	// A second server with the same registry adds to the same numbers.
	second, _, _ := serving(t, "127.0.0.1:0", waiting, sdk.WithMetrics(registry))
	open(t, dial(t, second))
	if text := page(t, url); !strings.Contains(text, `gatehouse_extproc_exchanges{processor="processor"} 2`) {
		t.Errorf("two servers:\n%s", text)
	}
}

func TestMetricsThatCantBeServed(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]sdk.ServerOption{
		"wrong address":    {sdk.WithMetricsListener("127.0.0.1:http-but-wrong", nil)},
		"nothing to show":  {sdk.WithMetricsListener("127.0.0.1:0", nil), sdk.WithMetrics(prometheus.WrapRegistererWithPrefix("x_", prometheus.NewRegistry()))},
		"a name is in use": {sdk.WithMetrics(taken(t))},
	} {
		if err := sdk.Serve(t.Context(), "127.0.0.1:0", hello, append(options, quiet)...); err == nil || !strings.Contains(err.Error(), "metrics") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func taken(t *testing.T) prometheus.Registerer {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_extproc_exchanges", Help: "of another program"}))
	return r
}

// TestSpansThroughEnvoy: the proxy's own span is the parent; the request's is where the proxy has none.
func TestSpansThroughEnvoy(t *testing.T) {
	t.Parallel()
	const inRequest = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	const inMetadata = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	upstream := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(upstream.Close)
	for name, c := range map[string]struct{ metadata, want string }{
		"from the proxy":   {inMetadata, inMetadata},
		"from the request": {"", inRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recorder := tracetest.NewSpanRecorder()
			inside := make(chan trace.SpanContext, 1)
			processor := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
				inside <- trace.SpanContextFromContext(ctx)
				return moody(ctx, x)
			})
			socket := filepath.Join(envoytest.SocketDir(t), "s")
			serving(t, "unix:"+socket, unlocked{processor},
				sdk.WithTracing(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))))
			config := bootstrap
			if c.metadata != "" {
				config = strings.ReplaceAll(config, "extension}, timeout: 5s", fmt.Sprintf("extension}, timeout: 5s, initial_metadata: [{key: traceparent, value: %q}]", c.metadata))
			}
			port := envoytest.FreePort(t)
			envoytest.Start(t, fmt.Sprintf(config, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/fail", port), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Traceparent", inRequest)
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			await(t, func() string {
				if n := len(recorder.Ended()); n != 2 {
					return fmt.Sprintf("%d spans", n)
				}
				return ""
			})
			checked, processed := recorder.Ended()[0], recorder.Ended()[1]
			for kind, span := range map[string]sdktrace.ReadOnlySpan{"ext_authz": checked, "ext_proc": processed} {
				parent := span.Parent()
				if got := fmt.Sprintf("00-%s-%s-01", parent.TraceID(), parent.SpanID()); span.Name() != kind || got != c.want || !parent.IsRemote() {
					t.Errorf("%s: span %s is a child of %s", kind, span.Name(), got)
				}
			}
			if in := <-inside; in.SpanID() != processed.SpanContext().SpanID() {
				t.Errorf("Process runs in span %v", in.SpanID())
			}
			if s := processed.Status(); s.Code != codes.Error || s.Description != "error" {
				t.Errorf("status %v", s)
			}
			if got := fmt.Sprint(processed.Attributes()); !strings.Contains(got, "503") || strings.Contains(got, "/fail") {
				t.Errorf("attributes %v", got)
			}
		})
	}
}
