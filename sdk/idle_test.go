package sdk_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// usage is what a process takes.
type usage struct{ Heap, Stack, Goroutines int }

// idling waits for the response, or tells what the process takes.
var idling = sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
	if x.Request.Path() == "/usage" {
		return measured()
	}
	_, err := x.Next(ctx)
	return err
})

// measured is a function of its own because MemStats fills a stack.
//
//go:noinline
func measured() error {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := json.Marshal(usage{int(m.HeapInuse), int(m.StackInuse), runtime.NumGoroutine()})
	if err != nil {
		return err
	}
	return &sdk.Reply{Code: http.StatusOK, Body: text}
}

// request are the headers that a browser might send.
func request(path string) *extprocv3.ProcessingRequest {
	lines := []*corev3.HeaderValue{
		{Key: ":method", RawValue: []byte("GET")}, {Key: ":path", RawValue: []byte(path)},
		{Key: ":authority", RawValue: []byte("shop.example")}, {Key: ":scheme", RawValue: []byte("https")},
	}
	for i := range 16 {
		lines = append(lines, &corev3.HeaderValue{Key: "x-header-" + strconv.Itoa(i), RawValue: []byte("a value of some length")})
	}
	return &extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{
		RequestHeaders: &extprocv3.HttpHeaders{Headers: &corev3.HeaderMap{Headers: lines}, EndOfStream: true},
	}}
}

func exchangeOf(t *testing.T, conn *grpc.ClientConn, path string) *extprocv3.ProcessingResponse {
	t.Helper()
	stream, err := extprocv3.NewExternalProcessorClient(conn).Process(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(request(path)); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func usageOf(t *testing.T, conn *grpc.ClientConn) usage {
	t.Helper()
	var u usage
	if err := json.Unmarshal(exchangeOf(t, conn, "/usage").GetImmediateResponse().GetBody(), &u); err != nil {
		t.Fatal(err)
	}
	return u
}

// TestTenThousandIdleExchanges bounds what exchanges cost that wait for a slow upstream: memory after a
// collection, and one goroutine each, which is the gRPC handler's. The server is a process of its own, as
// the client's streams cost memory too.
func TestTenThousandIdleExchanges(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("opens ten thousand streams")
	}
	const exchanges, limit = 10_000, 170 << 20
	path := filepath.Join(envoytest.SocketDir(t), "s")
	program := exec.CommandContext(t.Context(), os.Args[0], "--listen", "unix:"+path, "--log-level", "warn", "--metrics-listen", "127.0.0.1:0")
	program.Env = append(os.Environ(), "SDK_TEST_SERVE=idling")
	program.Stderr = os.Stderr
	program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Process.Kill(); _ = program.Wait() })
	conn := dial(t, "unix:"+path)
	before := usageOf(t, conn)
	for range exchanges {
		exchangeOf(t, conn, "/")
	}
	after := usageOf(t, conn)
	t.Logf("heap %d MiB, stack %d MiB, %d goroutines more", after.Heap>>20, after.Stack>>20, after.Goroutines-before.Goroutines)
	if after.Heap+after.Stack > limit {
		t.Errorf("%d bytes for %d exchanges, more than %d", after.Heap+after.Stack, exchanges, limit)
	}
	// The sweeper is one, and grpc keeps some workers.
	if more := after.Goroutines - before.Goroutines; more > exchanges+10 {
		t.Errorf("%d goroutines for %d exchanges", more, exchanges)
	}
}
