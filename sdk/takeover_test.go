package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// retrying is bootstrap with what [sdk.WithTakeover] says of Envoy.
var retrying = strings.ReplaceAll(bootstrap, "grpc_service: {",
	`grpc_service: {retry_policy: {retry_on: "refused-stream,connect-failure", num_retries: 2}, `)

// TestASocketIsTakenOverThroughEnvoy: versions follow one another on one path while requests come, and none of
// these fails.
func TestASocketIsTakenOverThroughEnvoy(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(upstream.Close)
	version := func(n int) sdk.Processor {
		return sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { return sdk.Deny(http.StatusOK, fmt.Sprint(n)) })
	}
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	_, stop, result := serving(t, "unix:"+socket, unlocked{version(0)})
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(retrying, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	var latest atomic.Value
	ctx, end := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for ctx.Err() == nil {
			answer, err := http.Get(url)
			if err != nil {
				t.Error(err)
				return
			}
			body, err := io.ReadAll(answer.Body)
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK || err != nil {
				t.Errorf("%d %s, %v", answer.StatusCode, body, err)
				return
			}
			latest.Store(string(body))
		}
	}()
	for n := 1; n < 4; n++ {
		_, next, ended := serving(t, "unix:"+socket, unlocked{version(n)}, sdk.WithTakeover())
		stop()
		if err := <-result; err != nil {
			t.Error(err)
		}
		stop, result = next, ended
		await(t, func() string {
			if got := latest.Load(); got != fmt.Sprint(n) {
				return fmt.Sprintf("version %v answers, not %d", got, n)
			}
			return ""
		})
	}
	end()
	<-over
	stop()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the last one has left its socket: %v", err)
	}
}

// TestATakeoverWaitsForTheWarmUp: until then, and if it fails, the other server serves on.
func TestATakeoverWaitsForTheWarmUp(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serving(t, "unix:"+socket, hello)
	before, err := os.Lstat(socket)
	if err != nil {
		t.Fatal(err)
	}
	warming, warm := make(chan struct{}), make(chan error)
	result := make(chan error, 1)
	go func() {
		result <- sdk.Serve(t.Context(), "unix:"+socket, hello, quiet, sdk.WithTakeover(),
			sdk.WithWarmup(func(context.Context) error { close(warming); return <-warm }))
	}()
	<-warming
	if now, err := os.Lstat(socket); err != nil || !os.SameFile(before, now) {
		t.Errorf("taken over too early: %v", err)
	}
	warm <- errors.New("cold")
	if err := <-result; err == nil {
		t.Error("a failed warm-up is no error")
	}
	if now, err := os.Lstat(socket); err != nil || !os.SameFile(before, now) {
		t.Errorf("after a failed take-over: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(socket), ".g*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := sdk.Serve(t.Context(), "unix:"+socket, hello, quiet); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("without the option: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := sdk.Serve(ctx, "unix:"+file, hello, quiet, sdk.WithTakeover()); err == nil || ctx.Err() != nil {
		t.Errorf("a file that is no socket: %v", err)
	}
}
