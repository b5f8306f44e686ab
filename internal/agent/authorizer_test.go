package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/health"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
)

// dial connects to a Unix socket, which may come later.
func dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// judge serves an authorizer until the test ends.
func judge(t *testing.T, check exchange.AuthorizerFunc, registry prometheus.Registerer) (*grpc.Server, *grpc.ClientConn) {
	t.Helper()
	services := agent.Authorizer{
		Choose: extauthz.Always(check), NameOf: func(*exchange.Request) string { return "default/p" },
		Health: health.New(), Logger: slog.New(slog.DiscardHandler), Registerer: registry,
	}
	server := services.Server()
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return server, dial(t, socket)
}

// asks are the two ways to have a path judged; each returns the status of a denial, 0 for none.
var asks = map[string]func(context.Context, *grpc.ClientConn, string) (int, error){
	"ext_authz": func(ctx context.Context, conn *grpc.ClientConn, path string) (int, error) {
		answer, err := authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
			Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Path: path, Host: "h", Scheme: "http"}},
		}})
		return int(answer.GetDeniedResponse().GetStatus().GetCode()), err
	},
	"ext_proc": func(ctx context.Context, conn *grpc.ClientConn, path string) (int, error) {
		stream, err := extprocv3.NewExternalProcessorClient(conn).Process(ctx)
		if err != nil {
			return 0, err
		}
		var lines []*corev3.HeaderValue
		for name, value := range map[string]string{":method": "GET", ":path": path, ":authority": "h", ":scheme": "http"} {
			lines = append(lines, &corev3.HeaderValue{Key: name, RawValue: []byte(value)})
		}
		if err := stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
			RequestHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{Headers: lines}, EndOfStream: true},
		}}); err != nil {
			return 0, err
		}
		answer, err := stream.Recv()
		return int(answer.GetImmediateResponse().GetStatus().GetCode()), err
	},
}

// TestAPanicDeniesOneRequestAndIsCounted: the process lives, and judges the next one.
func TestAPanicDeniesOneRequestAndIsCounted(t *testing.T) {
	t.Parallel()
	for name, ask := range asks {
		registry := prometheus.NewRegistry()
		_, conn := judge(t, func(_ context.Context, r *exchange.Request) (exchange.Verdict, error) {
			if r.Path() == "/panic" {
				panic("an engine's fault")
			}
			return exchange.Verdict{Allow: true, Reason: "allowed"}, nil
		}, registry)
		for _, request := range []struct {
			path string
			want int
		}{{"/", 0}, {"/panic", 503}, {"/", 0}} {
			if got, err := ask(t.Context(), conn, request.path); err != nil || got != request.want {
				t.Errorf("%s %s: %d %v, want %d", name, request.path, got, err, request.want)
			}
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]float64{}
		for _, f := range families {
			if f.GetName() != "gatehouse_authorizer_verdicts_total" {
				continue
			}
			for _, m := range f.GetMetric() {
				var labels []string
				for _, l := range m.GetLabel() {
					labels = append(labels, l.GetValue())
				}
				counts[strings.Join(labels, " ")] = m.GetCounter().GetValue()
			}
		}
		if got := fmt.Sprint(counts); got != "map[false default/p authorizer_panic:1 true default/p allowed:2]" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestAHungCheckDoesntHoldUpTheStop: whoever asked is told that there is no answer, which denies.
func TestAHungCheckDoesntHoldUpTheStop(t *testing.T) {
	t.Parallel()
	for name, ask := range asks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun, release := make(chan struct{}), make(chan struct{})
			defer close(release)
			server, conn := judge(t, func(context.Context, *exchange.Request) (exchange.Verdict, error) {
				close(begun)
				<-release
				return exchange.Verdict{Allow: true}, nil
			}, nil)
			answered := make(chan error, 1)
			go func() {
				_, err := ask(t.Context(), conn, "/")
				answered <- err
			}()
			<-begun
			agent.StopServer(server)
			if err := <-answered; status.Code(err) != codes.Unavailable {
				t.Errorf("the caller gets %v", err)
			}
		})
	}
}

// TestHealthBeforeTheFirstPoliciesAndWhileDraining: NOT_SERVING, also to those who watch; these are then let go.
func TestHealthBeforeTheFirstPoliciesAndWhileDraining(t *testing.T) {
	t.Parallel()
	dir := envoytest.SocketDir(t)
	socket := filepath.Join(dir, "authz.sock")
	a := agent.New(agent.Config{XDSSocket: filepath.Join(dir, "xds.sock"), AuthorizerSocket: socket, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	client := healthpb.NewHealthClient(dial(t, socket))
	watches := map[string]grpc.ServerStreamingClient[healthpb.HealthCheckResponse]{}
	all := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for service, watch := range watches {
			if now, err := watch.Recv(); err != nil || now.GetStatus() != want {
				t.Fatalf("%q: %v %v, want %v", service, now, err, want)
			}
		}
	}
	for _, service := range agent.HealthServices() {
		watch, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		watches[service] = watch
		if now, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service}); err != nil || now.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
			t.Fatalf("%q before the first policies: %v %v", service, now, err)
		}
	}
	all(healthpb.HealthCheckResponse_NOT_SERVING)
	a.Apply(&snapshot.Snapshot{})
	all(healthpb.HealthCheckResponse_SERVING)
	cancel()
	all(healthpb.HealthCheckResponse_NOT_SERVING)
	for service, watch := range watches {
		if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("the watch of %q ends with %v", service, err)
		}
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
