package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// TestObservabilityModeShowsBodies: to a filter that says which, as the protocol doesn't.
func TestObservabilityModeShowsBodies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		modes string
		err   error
	}{
		"both":    {"request-body=STREAMED; response-body=STREAMED", nil},
		"neither": {"request-body=NONE", exchange.ErrNeeds},
		"unknown": {"", exchange.ErrNeeds},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outcomes, sizes := make(chan exchange.Outcome, 1), make(chan int, 2)
			config := describing("v=1; "+c.modes, "observability_mode: true\n              processing_mode: {request_body_mode: STREAMED, response_body_mode: STREAMED}")
			g := start(t, config, http.HandlerFunc(mirrorLarge), func(ctx context.Context, x *exchange.Exchange) error {
				x.OnComplete(func(o exchange.Outcome) { outcomes <- o })
				size := func(src io.Reader) error {
					n, err := io.Copy(io.Discard, src)
					sizes <- int(n)
					return err
				}
				x.Request.Body.Observe(size)
				resp, err := x.Next(ctx, exchange.ObserveBody)
				if err != nil {
					return err
				}
				resp.Body.Observe(size)
				resp.Header.Set("x-edit", "ignored")
				return x.Finish(ctx)
			})
			for _, kind := range []string{"small", "large"} {
				if status, err := post(t, g, "/", kind); status != http.StatusOK || err != nil {
					t.Errorf("%s: %d, %v", kind, status, err)
				}
				if o := <-outcomes; !errors.Is(o.Err, c.err) {
					t.Errorf("%s: %+v", kind, o)
				}
				if c.err != nil {
					continue
				}
				want := fmt.Sprint(len(content(kind)), len(content("large")))
				if got := fmt.Sprint(<-sizes, <-sizes); got != want {
					t.Errorf("%s: saw %s bytes, want %s", kind, got, want)
				}
			}
		})
	}
}
