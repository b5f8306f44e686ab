package authserver_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/internal/authserver"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
)

// TestWatchersOfHealthAreToldOfTheStop: SERVING from the first answer on, since nobody listens before the policies
// are loaded, and NOT_SERVING while draining. Watchers don't hold up the stop.
func TestWatchersOfHealthAreToldOfTheStop(t *testing.T) {
	t.Parallel()
	dir := envoytest.SocketDir(t)
	file, socket := filepath.Join(t.TempDir(), "p.yaml"), filepath.Join(dir, "s")
	manifest := "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p}\nspec: {cors: {allowOrigins: [\"https://a.example\"]}}\n"
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- authserver.Run(ctx, authserver.Config{
			Paths: []string{file}, Listen: "unix:" + socket, SocketMode: 0o600, StateDir: dir, Logger: slog.New(slog.DiscardHandler),
		})
	}()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	watches := map[string]grpc.ServerStreamingClient[healthpb.HealthCheckResponse]{}
	for _, service := range []string{"", "ext_authz", "ext_proc"} {
		watch, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		if now, err := watch.Recv(); err != nil || now.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v %v", service, now, err)
		}
		watches[service] = watch
	}
	cancel()
	for service, watch := range watches {
		if now, err := watch.Recv(); err != nil || now.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Errorf("%q while draining: %v %v", service, now, err)
		}
		if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the watch of %q ends with %v", service, err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
