package e2e

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// moody is a user's authorization server, by every protocol, that fails every other time it is asked.
type moody struct {
	authv3.UnimplementedAuthorizationServer
	extprocv3.UnimplementedExternalProcessorServer
	asked atomic.Int64
}

func (m *moody) fails() bool { return m.asked.Add(1)%2 == 1 }

func (m *moody) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	if m.fails() {
		return nil, grpcstatus.Error(codes.Unavailable, "not now")
	}
	return &authv3.CheckResponse{Status: &status.Status{}}, nil
}

func (m *moody) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	if m.fails() {
		return grpcstatus.Error(codes.ResourceExhausted, "not now")
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return nil //nolint:nilerr // the exchange is over
		}
		if err := stream.Send(&extprocv3.ProcessingResponse{Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}}}); err != nil {
			return err
		}
	}
}

func (m *moody) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if m.fails() {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// newMoody returns its Backends, "name" by gRPC and "name-http".
func newMoody(t *testing.T, name string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, &moody{})
	extprocv3.RegisterExternalProcessorServer(server, &moody{})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	byHTTP := httptest.NewServer(&moody{})
	t.Cleanup(byHTTP.Close)
	return grpcBackendManifest(name, listener.Addr().(*net.TCPAddr).Port) + "\n---\n" +
		backendManifest(name+"-http", byHTTP.Listener.Addr().(*net.TCPAddr).Port)
}

func refTo(name string) string {
	return "backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: " + name + "}]"
}

// streamedTo is a route with an ext_proc server; fields is a flow mapping without its braces.
func streamedTo(name, fields string) string {
	return routeManifest(name, prefix("/"+name), "b") + "\n---\n" + `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: ` + name + `}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: ` + name + `}]
  extProc: [{messageTimeout: 10s, processingMode: {request: {}}, ` + fields + `}]`
}

// TestServersAreAskedAgain: retry of backendSettings, by every filter that asks a server of the user's.
func TestServersAreAskedAgain(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	const soon = "perRetry: {backOff: {baseInterval: 5ms, maxInterval: 5s}}"
	again := func(triggers string) string {
		return ", backendSettings: {retry: {numRetries: 1, retryOn: {triggers: [" + triggers + "]}, " + soon + "}}"
	}
	g := gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port),
		newMoody(t, "a"), newMoody(t, "c"), newMoody(t, "d"), newMoody(t, "e"), newMoody(t, "f"), newMoody(t, "g"), newMoody(t, "h"),
		guardedBy("grpc", "grpc: {"+refTo("a")+again("unavailable")+"}"),
		guardedBy("grpc-once", "grpc: {"+refTo("c")+"}"),
		guardedBy("grpc-by-default", "grpc: {"+refTo("d")+", backendSettings: {retry: {"+soon+"}}}"),
		guardedBy("http", "http: {"+refTo("e-http")+again("5xx")+"}"),
		guardedBy("http-once", "http: {"+refTo("f-http")+"}"),
		streamedTo("stream", refTo("g")+again("resource-exhausted")),
		streamedTo("stream-once", refTo("h"))))
	for path, want := range map[string]int{
		"/grpc": 200, "/grpc-once": 403, "/grpc-by-default": 200, "/http": 200, "/http-once": 403, "/stream": 200, "/stream-once": 500,
	} {
		if a := gatewaytest.Get(t, at(port, path)); a.Status != want {
			t.Errorf("%s: %d, want %d: %s", path, a.Status, want, a.Body)
		}
	}
	// The authorizer itself has room for more questions at a time than Envoy's 1,024.
	if page := g.AdminPage(t, "/clusters"); !strings.Contains(page, "gatehouse.authorizer::default_priority::max_requests::100000") {
		t.Errorf("the authorizer's limits: %s", page)
	}
}

// TestALoginAsksItsProviderAgain: the token endpoint too.
func TestALoginAsksItsProviderAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings string
		want     int
	}{
		"again":             {"{retry: {numRetries: 1, retryOn: {triggers: [gateway-error]}, perRetry: {backOff: {baseInterval: 5ms, maxInterval: 5s}}}, timeout: {http: {requestTimeout: 20s}}}", http.StatusFound},
		"for other reasons": {"{retry: {numRetries: 1, retryOn: {triggers: [reset]}, perRetry: {backOff: {baseInterval: 5ms, maxInterval: 5s}}}}", http.StatusUnauthorized},
		"once":              {"{}", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			idp, backend, port := newProvider(t), gatewaytest.NewBackend(t, "b"), freePort(t)
			front := &moody{}
			tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if front.fails() {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
				idp.token(t, w, r)
			}))
			t.Cleanup(tokens.Close)
			spec := strings.Replace(oidcSpec(idp, ""), "tokenEndpoint: "+idp.URL+"/token", "tokenEndpoint: "+tokens.URL+"/token, backendSettings: "+test.settings, 1)
			gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), oidcSecret, hostRoute("app"), policyManifest("app", spec)))
			user := &browser{cookies: map[string]string{}}
			callback := user.login(t, at(port, "/"), "Host: app.example")
			a := user.get(t, strings.Replace(callback, "http://app.example", at(port, ""), 1), "Host: app.example")
			if a.Status != test.want {
				t.Errorf("%d, want %d", a.Status, test.want)
			}
		})
	}
}

// holder is a user's authorization server that holds on to what it is asked about a path with "hold".
type holder struct {
	authv3.UnimplementedAuthorizationServer
	held, release chan struct{}
}

func (h *holder) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	if strings.Contains(r.GetAttributes().GetRequest().GetHttp().GetPath(), "hold") {
		h.held <- struct{}{}
		select {
		case <-h.release:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &authv3.CheckResponse{Status: &status.Status{}}, nil
}

// newHolder returns it with its Backend "holder".
func newHolder(t *testing.T) (*holder, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, server := &holder{held: make(chan struct{}, 10), release: make(chan struct{})}, grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, h)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return h, grpcBackendManifest("holder", listener.Addr().(*net.TCPAddr).Port)
}

// TestServersAreAskedWithinLimits: what keeps Envoy from asking a server, and from waiting for it.
func TestServersAreAskedWithinLimits(t *testing.T) {
	t.Parallel()
	h, holderManifest := newHolder(t)
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	var healthy atomic.Bool
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && !healthy.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(door.Close)
	byGRPC := func(settings string) string {
		return "timeout: 50s, grpc: {" + refTo("holder") + ", backendSettings: {" + settings + "}}"
	}
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), backendManifest("door", door.Listener.Addr().(*net.TCPAddr).Port), holderManifest,
		guardedBy("one", byGRPC("circuitBreaker: {maxParallelRequests: 1}")),
		guardedBy("short", byGRPC("timeout: {http: {maxStreamDuration: 100ms}}")),
		guardedBy("checked", "http: {"+refTo("door")+", backendSettings: {healthCheck: {panicThreshold: 0, "+
			"active: {type: HTTP, interval: 50ms, timeout: 10s, unhealthyThreshold: 1, healthyThreshold: 1, http: {path: /health}}}}}")))

	if a := gatewaytest.Get(t, at(port, "/short/hold")); a.Status != http.StatusForbidden {
		t.Errorf("a server that holds longer than it may: %d, want 403", a.Status)
	}
	<-h.held // it was asked
	first := make(chan int, 1)
	go func() {
		a, err := gatewaytest.Try(http.MethodGet, at(port, "/one/hold"))
		if err != nil {
			t.Error(err)
		}
		first <- a.Status
	}()
	select {
	case <-h.held:
	case got := <-first:
		t.Fatalf("the first one isn't held: %d", got)
	}
	if a := gatewaytest.Get(t, at(port, "/one")); a.Status != http.StatusForbidden {
		t.Errorf("one more than may be asked at a time: %d, want 403", a.Status)
	}
	close(h.release)
	if got := <-first; got != http.StatusOK {
		t.Errorf("the first one: %d, want 200", got)
	}
	gatewaytest.Await(t, at(port, "/one"), http.StatusOK)

	gatewaytest.Await(t, at(port, "/checked"), http.StatusForbidden)
	healthy.Store(true)
	gatewaytest.Await(t, at(port, "/checked"), http.StatusOK)
}
