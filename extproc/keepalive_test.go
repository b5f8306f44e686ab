package extproc_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

const overrideCounter = "override_message_timeout_received"

// slowly waits for d, or until the exchange is taken away.
func slowly(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// counted is the sum of Envoy's counters of a name.
func (g gateway) counted(t *testing.T, name string) (sum uint64) {
	t.Helper()
	for counter, n := range g.envoy.Stats(t, name) {
		if strings.HasSuffix(counter, name) {
			sum += n
		}
	}
	return sum
}

// TestASlowProcessorIsWaitedFor: one that takes longer than message_timeout and less than what the filter
// allows succeeds, and asks for nothing itself.
func TestASlowProcessorIsWaitedFor(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for longer than a timeout")
	}
	const wait = 2600 * time.Millisecond
	config := strings.Replace(filter("STREAMED"), "message_timeout: 10s", "", 1) + "\n              " +
		describing("v=1; timeout=2s; max-timeout=30s; keep-alive", "message_timeout: 2s\n              max_message_timeout: 30s")
	g := start(t, config, http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
		where := x.Request.Header.Get("x-where")
		x.Request.Header.Del("x-where")
		if where == "request body" {
			x.Request.Body.Observe(func(src io.Reader) error {
				_, err := io.Copy(io.Discard, src)
				return errors.Join(err, slowly(ctx, wait))
			})
		}
		if where == "request" {
			// Calls that move no message don't restart Envoy's timer.
			for range 4 {
				if err := slowly(ctx, wait/4); err != nil {
					return err
				}
				if err := x.SetMetadata("gatehouse", "n", 1.0); !errors.Is(err, exchange.ErrNeeds) {
					return errBoom
				}
			}
		}
		if _, err := x.Next(ctx); err != nil {
			return err
		}
		if where == "response" {
			return slowly(ctx, wait)
		}
		return nil
	}, extproc.WithDeadline(0))
	places := []string{"request", "response", "request body"}
	transport := client(t)
	var group sync.WaitGroup
	for _, where := range places {
		group.Go(func() {
			answer := g.post(t, transport, strings.NewReader("a body"), "X-Where", where)
			if answer == nil {
				return
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %d", where, answer.StatusCode)
			}
		})
	}
	group.Wait()
	if n := g.counted(t, overrideCounter); n != uint64(len(places)) {
		t.Errorf("Envoy was asked %d times for %d messages", n, len(places))
	}
}

// TestAProcessorSlowerThanTheExtensionGetsItsVerdict, and one whose filter allows none does at the first
// timeout.
func TestAProcessorSlowerThanTheExtensionGetsItsVerdict(t *testing.T) {
	t.Parallel()
	const allowed = "message_timeout: 10s\n              max_message_timeout: 20s" // Envoy's own verdict is far
	for name, c := range map[string]struct {
		description string
		opts        []extproc.Option
		asked       uint64
		least       time.Duration
	}{
		"extended":         {"v=1; timeout=200ms; max-timeout=2s; keep-alive", []extproc.Option{extproc.WithDeadline(0)}, 1, 1600 * time.Millisecond},
		"shortened":        {"v=1; timeout=200ms; max-timeout=20s; keep-alive", []extproc.Option{extproc.WithDeadline(0), extproc.WithKeepAlive(2 * time.Second)}, 1, 1600 * time.Millisecond},
		"bounded as whole": {"v=1; timeout=200ms; max-timeout=20s; keep-alive", []extproc.Option{extproc.WithDeadline(2 * time.Second)}, 1, 2000 * time.Millisecond},
		"shorter deadline": {"v=1; timeout=5s; max-timeout=20s; keep-alive", []extproc.Option{extproc.WithDeadline(200 * time.Millisecond)}, 0, 200 * time.Millisecond},
		"not wanted":       {"v=1; timeout=200ms; max-timeout=20s; keep-alive", []extproc.Option{extproc.WithDeadline(0), extproc.WithKeepAlive(0)}, 0, 150 * time.Millisecond},
		"not allowed":      {"v=1; timeout=200ms; max-timeout=20s", []extproc.Option{extproc.WithDeadline(0)}, 0, 150 * time.Millisecond},
		"no longer time":   {"v=1; timeout=200ms; keep-alive", []extproc.Option{extproc.WithDeadline(0)}, 0, 150 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outcomes := make(chan exchange.Outcome, 1)
			g := start(t, strings.Replace(describing(c.description, allowed), "message_timeout: 10s", "", 1), http.HandlerFunc(hello),
				func(ctx context.Context, x *exchange.Exchange) error {
					x.OnComplete(func(o exchange.Outcome) { outcomes <- o })
					<-ctx.Done()
					return nil
				}, c.opts...)
			answer, _ := g.get(t, "/")
			o := <-outcomes
			if answer.StatusCode != http.StatusServiceUnavailable || !errors.Is(o.Err, exchange.ErrTooSlow) {
				t.Errorf("%d, %+v", answer.StatusCode, o)
			}
			if o.Held < c.least {
				t.Errorf("after %v already", o.Held)
			}
			if n := g.counted(t, overrideCounter); n != c.asked {
				t.Errorf("Envoy was asked %d times", n)
			}
		})
	}
}

// TestTheDeadlineIsTold: the whole of what a processor may take, extension included.
func TestTheDeadlineIsTold(t *testing.T) {
	t.Parallel()
	const config = "message_timeout: 20s\n              max_message_timeout: 40s"
	for name, c := range map[string]struct {
		config string
		opt    extproc.Option
		want   time.Duration // 0: none
	}{
		"the server's":      {config, extproc.WithDeadline(7 * time.Second), 7 * time.Second},
		"the filter's":      {describing("v=1; timeout=20s", config), extproc.WithDeadline(0), 15 * time.Second},
		"with an extension": {describing("v=1; timeout=20s; max-timeout=40s; keep-alive", config), extproc.WithDeadline(0), 45 * time.Second},
		"none":              {config, extproc.WithDeadline(0), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near := func(x *exchange.Exchange) error {
				at, ok := x.Deadline()
				if left := time.Until(at); ok != (c.want != 0) || ok && (left > c.want || left < c.want-5*time.Second) {
					return errors.New("left " + left.String())
				}
				return nil
			}
			outcomes := make(chan exchange.Outcome, 1)
			var kept *exchange.Exchange
			g := start(t, strings.Replace(c.config, "message_timeout: 10s", "", 1), http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
				x.OnComplete(func(o exchange.Outcome) { outcomes <- o })
				kept = x
				if err := near(x); err != nil {
					return err
				}
				if _, err := x.Next(ctx); err != nil {
					return err
				}
				return near(x)
			}, c.opt)
			if answer, _ := g.get(t, "/"); answer.StatusCode != http.StatusOK {
				t.Errorf("%d", answer.StatusCode)
			}
			if o := <-outcomes; o.Err != nil {
				t.Error(o.Err)
			}
			if at, ok := kept.Deadline(); ok {
				t.Errorf("after the end: %v", at)
			}
		})
	}
}
