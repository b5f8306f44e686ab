package telemetry_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"

	"github.com/gatehouse-proxy/gatehouse/internal/telemetry"
)

// variables are those that switch spans on or off.
var variables = []string{
	"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
	"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
}

// TestSpansAreOffUnlessAskedFor: an endpoint or an exporter asks; what can't be had is said, and no fault.
func TestSpansAreOffUnlessAskedFor(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9"
	for name, test := range map[string]struct {
		env []string
		on  bool
		log string
	}{
		"nothing":                    {nil, false, ""},
		"an endpoint":                {[]string{endpoint}, true, ""},
		"an endpoint for spans":      {[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:9"}, true, ""},
		"the exporter":               {[]string{"OTEL_TRACES_EXPORTER=otlp"}, true, ""},
		"no exporter":                {[]string{endpoint, "OTEL_TRACES_EXPORTER=none"}, false, ""},
		"no SDK":                     {[]string{endpoint, "OTEL_SDK_DISABLED=true"}, false, ""},
		"another exporter":           {[]string{endpoint, "OTEL_TRACES_EXPORTER=jaeger"}, false, "may be otlp or none"},
		"another protocol":           {[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}, false, "grpc"},
		"another protocol elsewhere": {[]string{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=http/json", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range variables {
				t.Setenv(variable, "")
			}
			for _, pair := range test.env {
				variable, value, _ := strings.Cut(pair, "=")
				t.Setenv(variable, value)
			}
			var log bytes.Buffer
			traces := telemetry.Start(t.Context(), "v1", slog.New(slog.NewTextHandler(&log, nil)))
			defer traces.Close()
			if on := traces.Tracer() != nil; on != test.on || !strings.Contains(log.String(), test.log) || test.log == "" && log.Len() > 0 {
				t.Errorf("on %v, log %q", on, &log)
			}
		})
	}
}

// TestACollectorThatIsGoneDoesntFillTheLog: one line, and then none for a while.
func TestACollectorThatIsGoneDoesntFillTheLog(t *testing.T) {
	for _, variable := range variables {
		t.Setenv(variable, "")
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
	var log bytes.Buffer
	traces := telemetry.Start(t.Context(), "v1", slog.New(slog.NewTextHandler(&log, nil)))
	defer traces.Close()
	for range 100 {
		otel.Handle(errors.New("connection refused"))
	}
	if n := strings.Count(log.String(), "connection refused"); n != 1 {
		t.Errorf("%d lines:\n%s", n, &log)
	}
}
