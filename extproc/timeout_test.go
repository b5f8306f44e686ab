package extproc_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// describing is a filter that describes itself.
func describing(text, more string) string {
	return headersOnly(`{key: x-gatehouse-extproc, value: "`+text+`"}`, more)
}

// TestTheFiltersTimeoutIsTheProcessorsDeadline: a processor that blocks is found before Envoy loses patience.
func TestTheFiltersTimeoutIsTheProcessorsDeadline(t *testing.T) {
	t.Parallel()
	outcomes := make(chan exchange.Outcome, 1)
	for path, config := range map[string]string{
		"/request": describing("v=1; timeout=200ms", ""), "/response": describing("v=1; timeout=200ms", ""),
		"/response/after/full/duplex": describing("v=1; timeout=200ms",
			"processing_mode: {request_body_mode: FULL_DUPLEX_STREAMED, request_trailer_mode: SEND, response_body_mode: STREAMED}"),
	} {
		g := start(t, config, http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
			x.OnComplete(func(o exchange.Outcome) { outcomes <- o })
			if x.Request.Path() != "/request" {
				if _, err := x.Next(ctx); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return nil
		}, extproc.WithDeadline(0))
		if answer, _ := g.get(t, path); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", path, answer.StatusCode)
		}
		if o := <-outcomes; !errors.Is(o.Err, exchange.ErrTooSlow) {
			t.Errorf("%s: %+v", path, o)
		}
	}
}

// TestALongerTimeoutIsGranted: Envoy waits, and so does the server, for a processor that says so in time.
func TestALongerTimeoutIsGranted(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for longer than a timeout")
	}
	const wait = 1700 * time.Millisecond
	for name, config := range map[string]string{ // in one case each of what may owe an answer
		"headers": describing("v=1; override; timeout=1500ms; max-timeout=60s", "message_timeout: 1.5s\n              max_message_timeout: 60s\n              allow_mode_override: true"),
		"buffered": filter("BUFFERED") + "\n              " +
			describing("v=1; timeout=1500ms; max-timeout=60s", "message_timeout: 1.5s\n              max_message_timeout: 60s"),
		"full duplex": filter(fds) + "\n              " + describing("v=1; timeout=1500ms", "message_timeout: 1.5s"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, strings.Replace(config, "message_timeout: 10s", "", 1), http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
				slow := func() error {
					if err := x.ExtendTimeout(30 * time.Second); err != nil {
						return err
					}
					if name != "full duplex" {
						if err := x.ExtendTimeout(30 * time.Second); !errors.Is(err, exchange.ErrNeeds) {
							return errBoom
						}
					}
					select {
					case <-time.After(wait):
					case <-ctx.Done():
					}
					return ctx.Err()
				}
				if x.Request.Path() == "/held" {
					if _, err := x.Request.Body.Bytes(100); err != nil {
						return err
					}
				}
				if err := slow(); err != nil {
					return err
				}
				if _, err := x.Next(ctx); err != nil {
					return err
				}
				return slow()
			}, extproc.WithDeadline(time.Second))
			path := "/held"
			if name == "headers" {
				path = "/"
			}
			if status, err := post(t, g, path, "small"); status != http.StatusOK || err != nil {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
}

// TestATimeoutThatEnvoyWouldIgnoreIsAnError: without max_message_timeout, and above it.
func TestATimeoutThatEnvoyWouldIgnoreIsAnError(t *testing.T) {
	t.Parallel()
	for config, longest := range map[string]time.Duration{
		"message_timeout: 11s": 0, describing("v=1; timeout=1s", ""): 0, describing("v=1; max-timeout=3s", "max_message_timeout: 3s"): 3 * time.Second,
	} {
		g := start(t, config, http.HandlerFunc(hello), func(_ context.Context, x *exchange.Exchange) error {
			for _, d := range []time.Duration{0, time.Microsecond, longest + time.Second} {
				if err := x.ExtendTimeout(d); !errors.Is(err, exchange.ErrNeeds) {
					return errBoom
				}
			}
			if longest > 0 {
				return x.ExtendTimeout(longest)
			}
			return nil
		})
		if answer, _ := g.get(t, "/"); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", config, answer.StatusCode)
		}
	}
}

// TestAHeldBodyHasNoTimeout: while Envoy sends a body in full duplex it waits for the headers as long as it
// takes, so the filter's timeout is no reason to give up.
func TestAHeldBodyHasNoTimeout(t *testing.T) {
	t.Parallel()
	g := start(t, describing("v=1; override; timeout=100ms", "allow_mode_override: true\n              message_timeout: 20s"), http.HandlerFunc(hello),
		func(ctx context.Context, x *exchange.Exchange) error {
			if _, err := x.Request.Body.Bytes(100); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(500 * time.Millisecond):
			}
			return ctx.Err()
		})
	if status, err := post(t, g, "/", "small"); status != http.StatusOK || err != nil {
		t.Errorf("%d, %v", status, err)
	}
}
