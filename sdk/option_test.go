package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// ask sends an exchange's request headers and returns the answer with the stream.
func ask(t *testing.T, conn *grpc.ClientConn) (*extprocv3.ProcessingResponse, extprocv3.ExternalProcessor_ProcessClient) {
	t.Helper()
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{EndOfStream: true}}})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return answer, stream
}

func check(t *testing.T, conn *grpc.ClientConn) *authv3.CheckResponse {
	t.Helper()
	answer, err := newCheck(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func newCheck(ctx context.Context, conn *grpc.ClientConn) (*authv3.CheckResponse, error) {
	return authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "GET", Path: "/", Host: "a.example"}},
	}}, grpc.WaitForReady(true))
}

func TestNameAndFailureOfAProcessor(t *testing.T) {
	t.Parallel()
	failing := sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { return errors.New("broken") })
	var logged buffer
	addr, _, _ := serving(t, "127.0.0.1:0", failing, sdk.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))),
		sdk.WithProcessor(extproc.WithName("guard"), extproc.WithFailure(sdk.Reply{Code: http.StatusTeapot, Body: []byte("try tea")})))
	answer, _ := ask(t, dial(t, addr))
	reply := answer.GetImmediateResponse()
	if reply.GetStatus().GetCode() != http.StatusTeapot || string(reply.GetBody()) != "try tea" || reply.GetDetails() != "guard" {
		t.Errorf("failure verdict: %v", reply)
	}
	if got := logged.String(); !strings.Contains(got, "processor=guard") || !strings.Contains(got, "error=broken") {
		t.Errorf("logged: %s", got)
	}
}

func TestVerdictsOfAnAuthorizerAreSeen(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 2)
	observe := extauthz.OnVerdict(func(_ context.Context, _ *sdk.Request, v sdk.Verdict, _ time.Duration) { seen <- v.Reason })
	denying := sdk.AuthorizerFunc(func(context.Context, *sdk.Request) (sdk.Verdict, error) { return sdk.Verdict{Reason: "never"}, nil })
	addr, _, _ := serving(t, "127.0.0.1:0", denying, sdk.WithAuthorizer(observe), sdk.WithAuthorizer(observe))
	if code := check(t, dial(t, addr)).GetDeniedResponse().GetStatus().GetCode(); code != http.StatusForbidden {
		t.Errorf("status %v", code)
	}
	for range 2 {
		if reason := <-seen; reason != "never" {
			t.Errorf("observed %q", reason)
		}
	}
}

func TestOptionsOfTheGRPCServer(t *testing.T) {
	t.Parallel()
	refuse := func(any, grpc.ServerStream, *grpc.StreamServerInfo, grpc.StreamHandler) error {
		return status.Error(codes.Unauthenticated, "by the interceptor")
	}
	addr, _, _ := serving(t, "127.0.0.1:0", hello, sdk.WithMetricsListener("127.0.0.1:0", nil), sdk.WithGRPC(grpc.ChainStreamInterceptor(refuse)))
	stream, err := extprocv3.NewExternalProcessorClient(dial(t, addr)).Process(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("stream ended with %v", err)
	}
}

// TestBodiesAboveTheDefaultOfGRPC: a buffered body comes as one message, and 4 MiB would end it.
func TestBodiesAboveTheDefaultOfGRPC(t *testing.T) {
	t.Parallel()
	size := make(chan int, 1)
	reading := sdk.ProcessorFunc(func(_ context.Context, x *sdk.Exchange) error {
		body, err := x.Request.Body.Bytes(16 << 20)
		size <- len(body)
		return err
	})
	addr, _, _ := serving(t, "127.0.0.1:0", reading)
	stream, err := extprocv3.NewExternalProcessorClient(dial(t, addr)).Process(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*extprocv3.ProcessingRequest{
		{
			Request:        &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}},
			ProtocolConfig: &extprocv3.ProtocolConfiguration{RequestBodyMode: 2}, // BUFFERED
		},
		{Request: &extprocv3.ProcessingRequest_RequestBody{RequestBody: &extprocv3.HttpBody{Body: make([]byte, 9<<20), EndOfStream: true}}},
	} {
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-size; got != 9<<20 {
		t.Errorf("read %d bytes", got)
	}
}

func TestTooManyExchangesAreShed(t *testing.T) {
	t.Parallel()
	addr, _, _ := serving(t, "127.0.0.1:0", waiting, sdk.WithMaxExchanges(2), sdk.WithGRPC(grpc.MaxConcurrentStreams(100)))
	conn := dial(t, addr)
	first := open(t, conn)
	open(t, conn)
	answer, refused := ask(t, conn)
	if code := answer.GetImmediateResponse().GetStatus().GetCode(); code != http.StatusServiceUnavailable {
		t.Errorf("the third exchange: %v", answer)
	}
	if _, err := refused.Recv(); err == nil {
		t.Error("the refused stream goes on")
	}
	// The place of one that is over is free again.
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Recv(); err == nil {
		t.Error("the first exchange goes on")
	}
	if answer, _ := ask(t, conn); answer.GetRequestHeaders() == nil {
		t.Errorf("after another has ended: %v", answer)
	}
}

func TestTooManyChecksAreShed(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := sdk.AuthorizerFunc(func(context.Context, *sdk.Request) (sdk.Verdict, error) {
		close(entered)
		<-leave
		return sdk.Verdict{Allow: true}, nil
	})
	addr, _, _ := serving(t, "127.0.0.1:0", slow, sdk.WithMaxExchanges(1))
	conn := dial(t, addr)
	allowed := make(chan bool)
	go func() { allowed <- check(t, conn).GetOkResponse() != nil }()
	<-entered
	if code := check(t, conn).GetDeniedResponse().GetStatus().GetCode(); code != http.StatusServiceUnavailable {
		t.Errorf("the second check: %v", code)
	}
	close(leave)
	if !<-allowed {
		t.Error("the first check was denied")
	}
}

func TestNothingIsServedBeforeTheWarmUp(t *testing.T) {
	t.Parallel()
	socket := "unix:" + filepath.Join(envoytest.SocketDir(t), "s")
	warming, warm := make(chan struct{}), make(chan struct{})
	result, ready := make(chan error, 1), make(chan string, 1)
	go func() {
		result <- sdk.Serve(t.Context(), socket, unlocked{hello}, quiet, sdk.OnReady(func(addr string) { ready <- addr }),
			sdk.WithWarmup(func(context.Context) error { close(warming); <-warm; return nil }))
	}()
	<-warming
	conn := dial(t, socket)
	if s := healthOf(t, conn, sdk.HealthExtProc); s != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health %v", s)
	}
	if answer, _ := ask(t, conn); answer.GetImmediateResponse().GetStatus().GetCode() != http.StatusServiceUnavailable {
		t.Errorf("an early exchange: %v", answer)
	}
	if answer := check(t, conn); answer.GetDeniedResponse().GetStatus().GetCode() != http.StatusServiceUnavailable {
		t.Errorf("an early check: %v", answer)
	}
	close(warm)
	<-ready
	if s := healthOf(t, conn, sdk.HealthExtProc); s != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health %v", s)
	}
	if answer, _ := ask(t, conn); answer.GetRequestHeaders() == nil {
		t.Errorf("an exchange: %v", answer)
	}
	if answer := check(t, conn); answer.GetOkResponse() == nil {
		t.Errorf("a check: %v", answer)
	}
}

func TestAFailedWarmUpEndsTheServer(t *testing.T) {
	t.Parallel()
	cold := errors.New("no model")
	if err := sdk.Serve(t.Context(), "127.0.0.1:0", hello, quiet, sdk.WithWarmup(func(context.Context) error { return cold })); !errors.Is(err, cold) {
		t.Errorf("Serve: %v", err)
	}
}

func TestSocketMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+path, hello, sdk.WithSocketMode(0o660))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// buffer takes logs while a test reads them.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestAllMustAdmit: what one option has admitted is released when another refuses.
func TestAllMustAdmit(t *testing.T) {
	t.Parallel()
	released := make(chan struct{}, 10)
	full := errors.New("full")
	outcomes := make(chan sdk.Outcome, 10)
	addr, _, _ := serving(t, "127.0.0.1:0", hello, sdk.WithProcessor(
		extproc.WithAdmission(func() error { return nil }, func() { released <- struct{}{} }),
		extproc.WithAdmission(func() error { return full }, func() { t.Error("what wasn't admitted was released") }),
		extproc.OnOutcome(func(o sdk.Outcome) { outcomes <- o }),
		extproc.OnOutcome(func(o sdk.Outcome) { outcomes <- o }),
	))
	answer, _ := ask(t, dial(t, addr))
	if code := answer.GetImmediateResponse().GetStatus().GetCode(); code != http.StatusServiceUnavailable {
		t.Errorf("%v", answer)
	}
	<-released
	for range 2 {
		if o := <-outcomes; !errors.Is(o.Err, full) || o.Reply == nil || o.Status != http.StatusServiceUnavailable {
			t.Errorf("outcome %+v", o)
		}
	}
}
