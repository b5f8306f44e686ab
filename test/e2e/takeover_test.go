package e2e

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

var quiet = sdk.WithLogger(slog.New(slog.DiscardHandler))

// TestAProcessorIsReplacedWithoutALostRequest: its versions follow one another on one socket while requests come.
func TestAProcessorIsReplacedWithoutALostRequest(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(envoytest.SocketDir(t), "s")
	serve := func(version int) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // it ends in its turn
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- sdk.Serve(ctx, "unix:"+socket, sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error {
				return sdk.Deny(http.StatusOK, strconv.Itoa(version))
			}), quiet, sdk.WithTakeover(), sdk.OnReady(func(string) { close(ready) }))
		}()
		<-ready
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("version %d: %v", version, err)
			}
		}
	}
	stop := serve(0)
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	processor := strings.Replace(grpcBackendManifest("p", 1), "{ip: {address: 127.0.0.1, port: 1}}", "{unix: {path: "+socket+"}}", 1)
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), processor, streamedTo("stream", refTo("p"))))
	url := fmt.Sprintf("http://127.0.0.1:%d/stream", port)
	var latest atomic.Value
	var clients sync.WaitGroup
	end := make(chan struct{})
	for range 16 {
		clients.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					latest.Store(ask(t, url))
				}
			}
		})
	}
	for version := 1; version <= 20; version++ {
		next := serve(version)
		stop()
		stop = next
		gatewaytest.Eventually(t, "the next version", func() error {
			if got := latest.Load(); got != strconv.Itoa(version) {
				return fmt.Errorf("version %v answers", got)
			}
			return nil
		})
	}
	close(end)
	clients.Wait()
	stop()
}

// ask returns a body that came with 200.
func ask(t *testing.T, url string) string {
	answer, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%d %s, %v", answer.StatusCode, body, err)
	}
	return string(body)
}
