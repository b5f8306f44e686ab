package e2e

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// collector is an OTLP collector that keeps every span.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer

	port int

	mu    sync.Mutex
	spans []span
}

// span is one as it arrived, with the service that sent it.
type span struct {
	service, scope, name, trace, id, parent string

	kind       tracev1.Span_SpanKind
	status     *tracev1.Status
	attributes map[string]string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{port: l.Addr().(*net.TCPAddr).Port}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return c
}

// Export implements [collectorv1.TraceServiceServer].
func (c *collector) Export(_ context.Context, in *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range in.GetResourceSpans() {
		service := texts(resource.GetResource().GetAttributes())["service.name"]
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, span{
					service: service, scope: scope.GetScope().GetName(), name: s.GetName(),
					trace: hex.EncodeToString(s.GetTraceId()), id: hex.EncodeToString(s.GetSpanId()), parent: hex.EncodeToString(s.GetParentSpanId()),
					kind: s.GetKind(), status: s.GetStatus(), attributes: texts(s.GetAttributes()),
				})
			}
		}
	}
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

func texts(attributes []*commonv1.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		switch v := a.GetValue().GetValue().(type) {
		case *commonv1.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *commonv1.AnyValue_BoolValue:
			all[a.GetKey()] = fmt.Sprint(v.BoolValue)
		case *commonv1.AnyValue_IntValue:
			all[a.GetKey()] = fmt.Sprint(v.IntValue)
		default:
			all[a.GetKey()] = fmt.Sprintf("%T", v)
		}
	}
	return all
}

// of returns the spans of one trace that a service has sent.
func (c *collector) of(service, trace string) (found []span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if s.service == service && s.trace == trace {
			found = append(found, s)
		}
	}
	return found
}

// await returns the spans of a trace once a service has sent as many of them.
func (c *collector) await(t *testing.T, service, trace string, n int) (found []span) {
	t.Helper()
	gatewaytest.Eventually(t, "spans of "+service, func() error {
		if found = c.of(service, trace); len(found) < n {
			return fmt.Errorf("%d spans of trace %s: %+v", len(found), trace, found)
		}
		return nil
	})
	if len(found) > n {
		t.Errorf("%d spans of trace %s, want %d: %+v", len(found), trace, n, found)
	}
	return found
}

// endpoint is what sends a process's spans there, without a delay that tests would wait for.
func (c *collector) endpoint() []string {
	return []string{fmt.Sprintf("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:%d", c.port), "OTEL_BSP_SCHEDULE_DELAY=50"}
}
