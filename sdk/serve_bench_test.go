package sdk_test

import (
	"context"
	"path/filepath"
	"testing"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// BenchmarkExchange is one exchange of request headers over a Unix socket, client included: the difference
// between its lines is what metrics and spans cost.
func BenchmarkExchange(b *testing.B) {
	for _, c := range []struct {
		name    string
		options []sdk.ServerOption
	}{
		{"plain", nil},
		{"metrics", []sdk.ServerOption{sdk.WithMetrics(prometheus.NewRegistry())}},
		{"spans", []sdk.ServerOption{sdk.WithTracing(sdktrace.NewTracerProvider())}},
	} {
		b.Run(c.name, func(b *testing.B) {
			socket := filepath.Join(envoytest.SocketDir(b), "s")
			ctx, stop := context.WithCancel(b.Context())
			ready, result := make(chan string, 1), make(chan error, 1)
			go func() {
				result <- sdk.Serve(ctx, "unix:"+socket, hello, append(c.options, quiet, sdk.OnReady(func(addr string) { ready <- addr }))...)
			}()
			<-ready
			conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			client := extprocv3.NewExternalProcessorClient(conn)
			b.ReportAllocs()
			for b.Loop() {
				stream, err := client.Process(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if err := stream.Send(request("/")); err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = stream.Recv()
				}
			}
			_ = conn.Close()
			stop()
			<-result
		})
	}
}
