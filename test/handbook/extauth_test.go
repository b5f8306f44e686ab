package handbook_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

func TestExample16ExtAuth(t *testing.T) {
	isolated(t, func(t *testing.T) {
		g := testExtAuth(t, "16-sp-extauth")
		wantLogged(t, g, "level=WARN", "16-sp-extauth.yaml:13:", "extAuth.grpc.backendRef:", "spec.extAuth.grpc.backendRefs")
		wantLogged(t, g, "level=WARN", "16-sp-extauth.yaml:16:", "extAuth.grpc.headersToBackend:", "spec.extAuth.headersToBackend")
	})
}

func TestExample16bExtAuthFlat(t *testing.T) {
	isolated(t, func(t *testing.T) {
		g := testExtAuth(t, "16b-sp-extauth-flat")
		wantLogged(t, g, "level=WARN", "16b-sp-extauth-flat.yaml:13:", "extAuth.grpc.backendRef:", "spec.extAuth.grpc.backendRefs")
	})
}

// testExtAuth holds both spellings of the example against the same service.
func testExtAuth(t *testing.T, policy string) *gatewaytest.Gateway {
	t.Helper()
	b, service := backend(t), startAuthService(t)
	g := gatewaytest.Start(t, nil, files(example("base"), example(policy)))
	t.Run("what the service allows passes with the listed header", func(t *testing.T) {
		a := get(t, "x-verdict: allow", "Authorization: Bearer of-the-client")
		wantStatus(t, a, http.StatusOK)
		wantHeader(t, a.Seen.Header, "Authorization", "Bearer of-the-service")
		wantHeader(t, a.Seen.Header, "X-Other")
		if got := service.last().GetHeaders()["authorization"]; got != "Bearer of-the-client" {
			t.Errorf("the service saw authorization %q", got)
		}
	})
	t.Run("a header that isn't listed stays the client's", func(t *testing.T) {
		a := get(t, "x-verdict: allow", "X-Other: of-the-client")
		wantStatus(t, a, http.StatusOK)
		wantHeader(t, a.Seen.Header, "X-Other", "of-the-client")
	})
	passed := len(b.Requests())
	t.Run("what it denies gets its answer", func(t *testing.T) {
		a := get(t)
		wantStatus(t, a, http.StatusUnauthorized)
		wantHeader(t, a.Header, "WWW-Authenticate", "Custom")
		if a.Body != "show your pass" {
			t.Errorf("body %q", a.Body)
		}
	})
	t.Run("nothing passes without the service", func(t *testing.T) {
		service.stop()
		wantStatus(t, get(t, "x-verdict: allow"), http.StatusForbidden)
	})
	if n := len(b.Requests()) - passed; n != 0 {
		t.Errorf("%d denied requests reached the backend", n)
	}
	t.Run("requests pass when it is back", func(t *testing.T) {
		startAuthService(t)
		gatewaytest.Await(t, gatewayURL+"/", http.StatusOK, host, "x-verdict: allow")
	})
	return g
}

// authService is the handbook's auth-service, as a user writes one without Gatehouse's packages.
type authService struct {
	authv3.UnimplementedAuthorizationServer

	stop func()
	mu   sync.Mutex
	seen *authv3.AttributeContext_HttpRequest
}

func startAuthService(t *testing.T) *authService {
	t.Helper()
	listener, err := net.Listen("tcp", authAddress+":9000")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	s := &authService{stop: server.Stop}
	authv3.RegisterAuthorizationServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return s
}

func (s *authService) last() *authv3.AttributeContext_HttpRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

func (s *authService) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	request := r.GetAttributes().GetRequest().GetHttp()
	s.mu.Lock()
	s.seen = request
	s.mu.Unlock()
	if request.GetHeaders()["x-verdict"] != "allow" {
		return &authv3.CheckResponse{
			Status: status.New(codes.Unauthenticated, "").Proto(),
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status:  &typev3.HttpStatus{Code: typev3.StatusCode_Unauthorized},
				Headers: []*corev3.HeaderValueOption{field("www-authenticate", "Custom")},
				Body:    "show your pass",
			}},
		}, nil
	}
	return &authv3.CheckResponse{
		Status: status.New(codes.OK, "").Proto(),
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers: []*corev3.HeaderValueOption{field("authorization", "Bearer of-the-service"), field("x-other", "of-the-service")},
		}},
	}, nil
}

func field(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
}
