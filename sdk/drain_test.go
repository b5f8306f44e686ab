package sdk_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// TestAnOpenExchangeIsFinishedBeforeTheStopThroughEnvoy: the response of a request that was under way when
// the server was told to stop is processed as every other, and the next request is refused, not passed.
func TestAnOpenExchangeIsFinishedBeforeTheStopThroughEnvoy(t *testing.T) {
	t.Parallel()
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/next" {
			return
		}
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "late")
	}))
	t.Cleanup(upstream.Close)
	marking := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx)
		if err != nil {
			return err
		}
		resp.Header.Set("x-served-by", "me")
		return nil
	})
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	_, stop, result := serving(t, "unix:"+socket, unlocked{marking}, sdk.WithDrain(time.Hour))
	port := envoytest.FreePort(t)
	envoytest.Start(t, fmt.Sprintf(bootstrap, port, upstream.Listener.Addr().(*net.TCPAddr).Port, socket))
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	answers := make(chan string)
	go func() {
		answer, err := http.Get(url)
		if err != nil {
			answers <- err.Error()
			return
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		answers <- fmt.Sprintln(answer.StatusCode, string(body), answer.Header.Get("X-Served-By"), err)
	}()
	<-arrived
	stop()
	// The path is gone once the server drains.
	await(t, func() string {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			return "the server still takes connections"
		}
		return ""
	})
	// Envoy learns of it by the connection that it has.
	await(t, func() string {
		next, err := http.Get(url + "next")
		if err != nil {
			return err.Error()
		}
		_ = next.Body.Close()
		if next.StatusCode < http.StatusInternalServerError {
			return fmt.Sprintf("a request without the server: %d", next.StatusCode)
		}
		return ""
	})
	close(release)
	if got, want := <-answers, fmt.Sprintln(200, "late", "me", nil); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := <-result; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestAnExchangeThatHangsDoesntHoldUpTheStop: not even one that doesn't heed its context.
func TestAnExchangeThatHangsDoesntHoldUpTheStop(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	hung := sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error {
		close(begun)
		<-release
		return nil
	})
	addr, stop, result := serving(t, "127.0.0.1:0", hung, sdk.WithDrain(10*time.Millisecond))
	stream, err := extprocv3.NewExternalProcessorClient(dial(t, addr)).Process(t.Context(), grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&extprocv3.ProcessingRequest{Request: &extprocv3.ProcessingRequest_RequestHeaders{RequestHeaders: &extprocv3.HttpHeaders{}}}); err != nil {
		t.Fatal(err)
	}
	<-begun
	stop()
	if err := <-result; err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
}
