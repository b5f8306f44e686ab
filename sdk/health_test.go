package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

func watch(t *testing.T, conn *grpc.ClientConn, service string) grpc.ServerStreamingClient[healthv1.HealthCheckResponse] {
	t.Helper()
	stream, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestWatchersDontHoldUpTheStop: each is told what became of its service, and let go.
func TestWatchersDontHoldUpTheStop(t *testing.T) {
	t.Parallel()
	addr, stop, result := serving(t, "127.0.0.1:0", unlocked{hello}, sdk.WithDrain(time.Hour))
	conn := dial(t, addr)
	streams := map[string]grpc.ServerStreamingClient[healthv1.HealthCheckResponse]{}
	for service, want := range map[string]healthv1.HealthCheckResponse_ServingStatus{
		"": healthv1.HealthCheckResponse_SERVING, sdk.HealthExtProc: healthv1.HealthCheckResponse_SERVING,
		sdk.HealthExtAuthz: healthv1.HealthCheckResponse_SERVING, "other": healthv1.HealthCheckResponse_SERVICE_UNKNOWN,
	} {
		streams[service] = watch(t, conn, service)
		if m, err := streams[service].Recv(); err != nil || m.GetStatus() != want {
			t.Errorf("%q: %v, %v", service, m, err)
		}
	}
	stop()
	for service, stream := range streams {
		if service != "other" {
			if m, err := stream.Recv(); err != nil || m.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
				t.Errorf("%q while draining: %v, %v", service, m, err)
			}
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("end of the watch of %q: %v", service, err)
		}
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestHealthOfEachKind(t *testing.T) {
	t.Parallel()
	for kind, want := range map[any][]string{
		both{}:                        {"", sdk.HealthExtAuthz, sdk.HealthExtProc},
		new(struct{ sdk.Authorizer }): {"", sdk.HealthExtAuthz},
	} {
		addr, _, _ := serving(t, "127.0.0.1:0", kind)
		client := healthv1.NewHealthClient(dial(t, addr))
		list, err := client.List(t.Context(), &healthv1.HealthListRequest{}, grpc.WaitForReady(true))
		if got := slices.Sorted(maps.Keys(list.GetStatuses())); err != nil || !slices.Equal(got, want) {
			t.Errorf("%T: %q, %v", kind, got, err)
		}
		if _, err := client.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
			t.Errorf("health of another service: %v", err)
		}
		stream := watch(t, dial(t, addr), "")
		if _, err := stream.Recv(); err != nil {
			t.Error(err)
		}
		if err := stream.CloseSend(); err != nil && !errors.Is(err, stream.Context().Err()) {
			t.Error(err)
		}
	}
}

// TestEnvoysOwnHealthChecksFollow: Envoy sends nothing to a server that is still warming up.
func TestEnvoysOwnHealthChecksFollow(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(upstream.Close)
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	warming, warm := make(chan struct{}), make(chan struct{})
	var early atomic.Int32
	result := make(chan error, 1)
	go func() {
		result <- sdk.Serve(t.Context(), "unix:"+socket, unlocked{hello}, quiet,
			sdk.WithWarmup(func(context.Context) error { close(warming); <-warm; return nil }),
			sdk.WithProcessor(extproc.OnOutcome(func(o sdk.Outcome) {
				if errors.Is(o.Err, sdk.ErrNotReady) {
					early.Add(1)
				}
			})))
	}()
	<-warming
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(bootstrap, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket)+`
    common_lb_config: {healthy_panic_threshold: {value: 0}}
    health_checks:
    - {timeout: 5s, interval: 0.05s, no_traffic_interval: 0.05s, unhealthy_threshold: 1, healthy_threshold: 1, grpc_health_check: {service_name: ext_proc}}
`)
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	get := func() int {
		answer, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode
	}
	if got := get(); got < 500 || early.Load() != 0 {
		t.Errorf("while warming up: %d, %d exchanges reached the server", got, early.Load())
	}
	close(warm)
	await(t, func() string {
		if got := get(); got != http.StatusNotFound {
			return fmt.Sprintf("when warm: %d", got)
		}
		return ""
	})
}
