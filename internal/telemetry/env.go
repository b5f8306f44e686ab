package telemetry

import (
	"fmt"
	"os"
	"strings"
)

// Help describes the environment variables, for the help of commands.
const Help = `Spans of checks go to an OpenTelemetry collector by OTLP over gRPC if OTEL_EXPORTER_OTLP_ENDPOINT or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set, such as http://127.0.0.1:4317, or OTEL_TRACES_EXPORTER is
otlp. The other variables of OpenTelemetry hold too: OTEL_SERVICE_NAME (gatehouse by default),
OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*, OTEL_EXPORTER_OTLP_* for TLS and headers.`

// asked reports whether the environment asks for spans. The error says what it asks for in vain.
func asked() (bool, error) {
	if strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")), "true") {
		return false, nil
	}
	exporter := strings.ToLower(strings.TrimSpace(os.Getenv("OTEL_TRACES_EXPORTER")))
	switch exporter {
	case "none":
		return false, nil
	case "":
		if first("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") == "" {
			return false, nil
		}
	case "otlp":
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: it may be otlp or none", exporter)
	}
	if protocol := first("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"); protocol != "" && protocol != "grpc" {
		return false, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q: spans are sent by grpc alone; set OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc, and the endpoint that the collector has for it", protocol)
	}
	return true, nil
}

// first returns the value of the first variable that has one: what is about traces goes before the rest.
func first(names ...string) string {
	for _, name := range names {
		if value := strings.TrimSpace(os.Getenv(name)); value != "" {
			return value
		}
	}
	return ""
}
