package handbook_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

func TestExample24ExtProc(t *testing.T) {
	isolated(t, func(t *testing.T) {
		b, stop := backend(t), startExtProcService(t)
		g := gatewaytest.Start(t, nil, files(example("base"), example("24-eep-extproc")))
		wantLogged(t, g, "level=WARN", "24-eep-extproc.yaml:11:", "spec.extProc:", "list")
		wantLogged(t, g, "level=WARN", "24-eep-extproc.yaml:12:", ".backendRef:", "spec.extProc[].backendRefs")
		wantLogged(t, g, "level=WARN", "24-eep-extproc.yaml:16:", "requestHeaderMode", "spec.extProc[].processingMode.request")
		wantLogged(t, g, "level=WARN", "24-eep-extproc.yaml:17:", "responseHeaderMode", "spec.extProc[].processingMode.response")
		t.Run("the service changes request and response", func(t *testing.T) {
			a := await(t, http.StatusOK, "X-From-Processor: of-the-client")
			wantHeader(t, a.Seen.Header, "X-From-Processor", "hello")
			wantHeader(t, a.Header, "X-Processed", "200")
		})
		t.Run("and an error of the backend", func(t *testing.T) {
			a := await(t, http.StatusInternalServerError, "x-want-status: 500")
			wantHeader(t, a.Header, "X-Processed", "500")
		})
		passed := len(b.Requests())
		t.Run("the service answers itself", func(t *testing.T) {
			await(t, http.StatusTeapot, "x-do: refuse")
		})
		t.Run("a failure of the service is a denial", func(t *testing.T) {
			await(t, http.StatusServiceUnavailable, "x-do: fail")
		})
		t.Run("an answer later than messageTimeout is none", func(t *testing.T) {
			start := time.Now()
			// 504 is Envoy's word. The SDK knows the timeout from the filter, and denies a little before it.
			if a := get(t, "x-do: hang"); a.Status != http.StatusGatewayTimeout && a.Status != http.StatusServiceUnavailable {
				t.Errorf("status %d, want 503 or 504", a.Status)
			}
			// Envoy counts from the start of its event loop's turn, some milliseconds ago.
			if took := time.Since(start); took < 150*time.Millisecond || took > 5*time.Second {
				t.Errorf("answered after %v, the messageTimeout is 200ms", took)
			}
		})
		t.Run("nothing passes without the service", func(t *testing.T) {
			stop()
			wantStatus(t, get(t), http.StatusInternalServerError)
		})
		if n := len(b.Requests()) - passed; n != 0 {
			t.Errorf("%d requests reached the backend that the service didn't let pass", n)
		}
		t.Run("requests pass when it is back", func(t *testing.T) {
			startExtProcService(t)
			await(t, http.StatusOK)
		})
	})
}

// await is for answers that a busy machine may not give within the example's messageTimeout.
func await(t *testing.T, status int, header ...string) gatewaytest.Answer {
	t.Helper()
	return gatewaytest.Await(t, gatewayURL+"/", status, append([]string{host}, header...)...)
}

// startExtProcService is the handbook's ext-proc-service; stop ends it and returns when it has ended.
func startExtProcService(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // it ends in its turn, after the gateway
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- sdk.Serve(ctx, extProcAddress+":9002", sdk.ProcessorFunc(process), sdk.WithDrain(time.Millisecond),
			sdk.OnReady(func(address string) { ready <- address }), sdk.WithLogger(slog.New(slog.DiscardHandler)))
	}()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatalf("ext-proc-service: %v", err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-ended
		}
	}
	t.Cleanup(stop)
	return stop
}

func process(ctx context.Context, x *sdk.Exchange) error {
	switch x.Request.Header.Get("x-do") {
	case "refuse":
		return sdk.Deny(http.StatusTeapot, "no tea")
	case "fail":
		return errors.New("out of order")
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	}
	x.Request.Header.Set("x-from-processor", "hello")
	response, err := x.Next(ctx)
	if err != nil {
		return err
	}
	response.Header.Set("x-processed", strconv.Itoa(response.Status()))
	return nil
}
