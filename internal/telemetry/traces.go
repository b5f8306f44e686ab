// Package telemetry sends the spans of a process to an OpenTelemetry collector.
package telemetry

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope names the instrumentation, as OpenTelemetry wants: by its module.
const scope = "github.com/gatehouse-proxy/gatehouse"

// flushTime bounds how long Close waits for a collector.
const flushTime = 3 * time.Second

// Traces sends spans in the background, from a queue that drops what it has no room for: a collector that is
// slow or gone costs spans, never time. The zero of a pointer to it is one that is off.
type Traces struct {
	provider *sdktrace.TracerProvider
	version  string
	log      *slog.Logger
}

// Start returns what the environment asks for, see [Help]; nil if it asks for nothing. What is wrong with it is
// logged, and never keeps a program from its work. It is called once in a process: what OpenTelemetry reports goes
// to log from then on.
func Start(ctx context.Context, version string, log *slog.Logger) *Traces {
	wanted, err := asked()
	if err != nil {
		log.Error("no spans are sent", "error", err)
	}
	if !wanted {
		return nil
	}
	otel.SetErrorHandler(&reporter{log: log, pause: time.Minute})
	exporter, err := otlptracegrpc.New(ctx) // doesn't wait for the collector
	if err != nil {
		log.Error("no spans are sent", "error", err)
		return nil
	}
	return &Traces{
		provider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(identity(ctx, version))),
		version:  version, log: log,
	}
}

// identity is what the spans say of the process. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
func identity(ctx context.Context, version string) *resource.Resource {
	own := resource.WithAttributes(attribute.String("service.name", "gatehouse"), attribute.String("service.version", version))
	r, err := resource.New(ctx, own, resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		otel.Handle(err) // and r is what could be read
	}
	return r
}

// Tracer returns nil if t is nil.
func (t *Traces) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(scope, trace.WithInstrumentationVersion(t.version))
}

// Close sends what is in the queue, for three seconds at most.
func (t *Traces) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last spans are lost", "error", err)
	}
}
