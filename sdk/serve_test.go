package sdk_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

var quiet = sdk.WithLogger(slog.New(slog.DiscardHandler))

// TestMain lets the test binary be the program under test: with this variable it is a processor.
func TestMain(m *testing.M) {
	switch os.Getenv("SDK_TEST_SERVE") {
	case "hello":
		sdk.Main(hello)
	case "idling":
		sdk.Main(idling)
	}
	os.Exit(m.Run())
}

var hello = sdk.ProcessorFunc(func(_ context.Context, x *sdk.Exchange) error {
	x.Request.Header.Set("x-hello", "world")
	return nil
})

// serving starts Serve and returns its address, the function that stops it, and its result.
func serving(t *testing.T, addr string, p any, opts ...sdk.ServerOption) (string, context.CancelFunc, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, result := make(chan string, 1), make(chan error, 1)
	opts = append([]sdk.ServerOption{quiet, sdk.OnReady(func(addr string) { ready <- addr })}, opts...)
	go func() { result <- sdk.Serve(ctx, addr, p, opts...) }()
	t.Cleanup(cancel)
	select {
	case addr := <-ready:
		return addr, cancel, result
	case err := <-result:
		t.Fatalf("Serve: %v", err)
		return "", nil, nil
	}
}

func dial(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func healthOf(t *testing.T, conn *grpc.ClientConn, service string) healthv1.HealthCheckResponse_ServingStatus {
	t.Helper()
	answer, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return answer.GetStatus()
}

// open begins an exchange whose processor waits in Next.
func open(t *testing.T, conn *grpc.ClientConn) extprocv3.ExternalProcessor_ProcessClient {
	t.Helper()
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream
}

var waiting = sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
	_, err := x.Next(ctx)
	return err
})

func TestHealthFollowsTheServer(t *testing.T) {
	t.Parallel()
	addr, stop, result := serving(t, "127.0.0.1:0", waiting)
	conn := dial(t, addr)
	for _, service := range []string{"", sdk.HealthExtProc} {
		if s := healthOf(t, conn, service); s != healthv1.HealthCheckResponse_SERVING {
			t.Errorf("health of %q: %v", service, s)
		}
	}
	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{Service: sdk.HealthExtProc})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := watch.Recv(); err != nil || s.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("watch: %v, %v", s, err)
	}
	stream := open(t, conn)
	stop()
	if s, err := watch.Recv(); err != nil || s.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("watch while draining: %v, %v", s, err)
	}
	// The open exchange may end in its own time.
	err = stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_ResponseHeaders{ResponseHeaders: &extprocv3.HttpHeaders{}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Errorf("an open exchange was cut off: %v", err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of the exchange: %v", err)
	}
	_ = conn.Close() // the watch would keep the server
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestDrainingIsBounded(t *testing.T) {
	t.Parallel()
	addr, stop, result := serving(t, "127.0.0.1:0", waiting, sdk.WithDrain(50*time.Millisecond))
	stream := open(t, dial(t, addr))
	stop()
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("an exchange that was cut off ended with %v, which lets the request pass", err)
	}
}

// leaveStaleSocket makes a socket that nobody listens on. It never was listened on: a program that another
// test starts at the same moment would hold a listener open between its fork and its exec.
func leaveStaleSocket(t *testing.T, path string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(envoytest.SocketDir(t), "s")
	leaveStaleSocket(t, path)
	_, stop, result := serving(t, "unix:"+path, hello)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if s := healthOf(t, dial(t, "unix:"+path), ""); s != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health %v", s)
	}
	if err := sdk.Serve(t.Context(), "unix:"+path, hello, quiet); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("second server on a live socket: %v", err)
	}
	stop()
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestServeRefusesWhatItCantServe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(envoytest.SocketDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		addr string
		p    any
	}{
		"neither kind of extension": {"127.0.0.1:0", 42},
		"no address":                {"127.0.0.1:http-but-wrong", hello},
		"a file, not a socket":      {"unix:" + file, hello},
		"a path that is too long":   {"unix:/tmp/" + strings.Repeat("x", 110), hello},
	} {
		if err := sdk.Serve(t.Context(), c.addr, c.p, quiet); err == nil {
			t.Errorf("%s: served", name)
		}
	}
}

func TestMainServesUntilItIsTold(t *testing.T) {
	t.Parallel()
	path := filepath.Join(envoytest.SocketDir(t), "s")
	var output bytes.Buffer
	program := exec.CommandContext(t.Context(), os.Args[0], "--listen", "unix:"+path, "--log-level", "warn")
	program.Env = append(os.Environ(), "SDK_TEST_SERVE=hello")
	program.Stderr = &output
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, "unix:"+path)
	if s := healthOf(t, conn, ""); s != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health %v", s)
	}
	stream := open(t, conn)
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of the exchange: %v", err)
	}
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil || output.Len() > 0 {
		t.Errorf("end of the program: %v, %s", err, &output)
	}
}

// TestASecondSignalEndsTheProcessAtOnce: whoever doesn't want to wait for open exchanges needs no SIGKILL.
func TestASecondSignalEndsTheProcessAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(envoytest.SocketDir(t), "s")
	program := exec.CommandContext(t.Context(), os.Args[0], "--listen", "unix:"+path, "--drain", "1h")
	program.Env = append(os.Environ(), "SDK_TEST_SERVE=idling")
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	conn := dial(t, "unix:"+path)
	exchangeOf(t, conn, "/") // stays open
	watch := watch(t, conn, "")
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if m, err := watch.Recv(); err != nil || m.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Fatalf("after the first signal: %v, %v", m, err)
	}
	ended := make(chan struct{})
	go func() { _ = program.Wait(); close(ended) }()
	// The handler of the first signal goes when it has been told, some microseconds later.
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		_ = program.Process.Signal(syscall.SIGTERM)
		select {
		case <-tick.C:
			continue
		case <-ended:
		}
		break
	}
	if status, ok := program.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v", program.ProcessState)
	}
}

func TestMainRefusesWrongFlags(t *testing.T) {
	t.Parallel()
	for flags, code := range map[string]int{
		"--log-level=loud": 2, "--socket-mode=rw": 2, "--max-exchanges=many": 2, "serve": 2,
		"--listen=unix:/": 1, "--tls-client-ca=/ca.pem": 1, "--metrics-listen=127.0.0.1": 1,
	} {
		program := exec.CommandContext(t.Context(), os.Args[0], flags)
		program.Env = append(os.Environ(), "SDK_TEST_SERVE=hello")
		out, err := program.CombinedOutput()
		if program.ProcessState.ExitCode() != code || len(out) == 0 {
			t.Errorf("%s: %v, %s", flags, err, out)
		}
	}
}

func TestHelpShowsAnExample(t *testing.T) {
	t.Parallel()
	program := exec.CommandContext(t.Context(), os.Args[0], "--help")
	program.Env = append(os.Environ(), "SDK_TEST_SERVE=hello")
	out, err := program.CombinedOutput()
	for _, part := range []string{"Example:\n", " --listen unix:/run/", "-tls-cert", "(default 600)", "(default 10s)", `(default "127.0.0.1:9002")`} {
		if !bytes.Contains(out, []byte(part)) {
			t.Errorf("no %q in the help: %v\n%s", part, err, out)
		}
	}
	if err != nil {
		t.Errorf("help ended with %v", err)
	}
}
