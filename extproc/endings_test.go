package extproc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// pieces is a body of several messages: each Read is one frame of HTTP/2.
func pieces(texts ...string) io.Reader {
	readers := make([]io.Reader, len(texts))
	for i, text := range texts {
		readers[i] = strings.NewReader(text)
	}
	return io.MultiReader(readers...)
}

// TestManyEarlyReturnsLoseNothing: what is under way when a processor leaves arrives all the same, however
// the messages happen to meet.
func TestManyEarlyReturnsLoseNothing(t *testing.T) {
	t.Parallel()
	const clients = 8
	rounds := 10 // of three kinds of bodies
	if testing.Short() {
		rounds = 1
	}
	kinds := [][]string{nil, {"one,", "two,", "three"}, {strings.Repeat("large ", 20_000), "end"}}
	configs := map[string]string{"NONE with override": overriding("NONE"), "STREAMED with override": overriding("STREAMED")}
	for _, mode := range bodyModes {
		configs[mode] = filter(mode)
	}
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, config, http.HandlerFunc(echoed), processors["returns early"])
			var group sync.WaitGroup
			for range clients {
				transport := client(t)
				group.Go(func() {
					for i := range rounds * len(kinds) {
						sendPieces(t, transport, g.url, kinds[i%len(kinds)])
					}
				})
			}
			group.Wait()
			for _, counter := range []string{"spurious_msgs_received", "streams_failed"} {
				if n := g.envoy.Stat(t, "http.web.ext_proc."+counter); n != 0 {
					t.Errorf("%s: %d", counter, n)
				}
			}
		})
	}
}

// echoed answers with the request's body.
func echoed(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Edit", r.Header.Get("X-Edit"))
	_, _ = io.Copy(w, r.Body)
}

func sendPieces(t *testing.T, transport *http.Transport, url string, kind []string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, pieces(kind...))
	if err != nil {
		t.Error(err)
		return
	}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Error(err)
		return
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if want := strings.Join(kind, ""); err != nil || string(got) != want || answer.Header.Get("X-Edit") != "request" {
		t.Errorf("%d: %d of %d bytes, edit %q, %v", answer.StatusCode, len(got), len(want), answer.Header.Get("X-Edit"), err)
	}
}

// TestACompressedResponseWithTrailersIsWhole, or it is no success: its end and its trailers come after what a
// function over the body has kept back.
func TestACompressedResponseWithTrailersIsWhole(t *testing.T) {
	t.Parallel()
	zip := func(ctx context.Context, x *exchange.Exchange) error {
		resp, err := x.Next(ctx, exchange.EditBody)
		if err != nil {
			return err
		}
		resp.Header.Set("content-encoding", "gzip")
		resp.Body.Transform(func(dst io.Writer, src io.Reader) error {
			w := gzip.NewWriter(dst)
			_, err := io.Copy(w, src)
			return errors.Join(err, w.Close())
		})
		return nil
	}
	grpcLike := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		_, _ = w.Write(content("large"))
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}
	whole := in("NONE with override", "STREAMED with override", "BUFFERED", fds, "STREAMED that sends trailers")
	for name, config := range map[string]string{
		"NONE": filter("NONE"), "NONE with override": overriding("NONE"), "STREAMED": filter("STREAMED"),
		"STREAMED with override": overriding("STREAMED"), "BUFFERED": filter("BUFFERED"), "BUFFERED_PARTIAL": filter("BUFFERED_PARTIAL"),
		fds: filter(fds), "STREAMED that sends trailers": filter("STREAMED") + "\n              " + describing("v=1; trailers", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t, config, http.HandlerFunc(grpcLike), zip)
			answer := g.post(t, client(t), http.NoBody)
			if answer == nil {
				return
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			failed := err != nil || answer.StatusCode != http.StatusOK
			if failed {
				if whole(name) && name != "STREAMED that sends trailers" { // where its tail has no place it is refused
					t.Errorf("%d, %v", answer.StatusCode, err)
				}
				return
			}
			reader, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(reader)
			if err != nil || !bytes.Equal(text, content("large")) || answer.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("a success of %d bytes, trailers %v, %v", len(text), answer.Trailer, err)
			}
		})
	}
}

// TestNothingIsLeftBehind: whatever a processor does, its client gets a verdict in bounded time, and no goroutine
// stays once the processor has returned. It counts goroutines, so it runs alone.
func TestNothingIsLeftBehind(t *testing.T) {
	release := make(chan struct{})
	misdeeds := map[string]exchange.ProcessorFunc{
		"panic":                func(context.Context, *exchange.Exchange) error { panic("boom") },
		"wait for the context": func(ctx context.Context, _ *exchange.Exchange) error { <-ctx.Done(); return nil },
		"wait for nothing":     func(context.Context, *exchange.Exchange) error { <-release; return nil },
		"read too much": func(_ context.Context, x *exchange.Exchange) error {
			x.Request.Body.Limit(10)
			_, err := io.ReadAll(&x.Request.Body)
			return err
		},
		"past the cap": func(_ context.Context, x *exchange.Exchange) error { _, err := x.Request.Body.Bytes(10); return err },
		"panic over a body": func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Observe(func(src io.Reader) error { _, _ = src.Read(make([]byte, 5)); panic("boom") })
			return x.Finish(ctx)
		},
		"wait over a body": func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Observe(func(io.Reader) error { <-release; return nil })
			return x.Finish(ctx)
		},
		"a deadline of its own": func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Header.Set("x-hang", "1")
			own, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			_, err := x.Next(own)
			return err
		},
		"leave with a function waiting": func(context.Context, *exchange.Exchange) error { return errBoom },
	}
	g := start(t, filter(fds), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Header.Get("X-Hang") != "" {
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, "hello")
	}), func(ctx context.Context, x *exchange.Exchange) error {
		return misdeeds[x.Request.Header.Get("x-case")](ctx, x)
	}, extproc.WithDeadline(200*time.Millisecond))
	transport := client(t)
	misbehave := func(name string) {
		answer := g.post(t, transport, pieces(strings.Repeat("x", 1000), "end"), "X-Case", name)
		if answer == nil {
			return
		}
		defer answer.Body.Close()
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if answer.StatusCode != http.StatusServiceUnavailable && answer.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	misbehave("panic") // what connections cost is there
	before := runtime.NumGoroutine()
	var group sync.WaitGroup
	for name := range misdeeds {
		for range 10 {
			group.Go(func() { misbehave(name) })
		}
	}
	group.Wait()
	close(release)
	awaitGoroutines(t, before)
}

// awaitGoroutines returns when there are about as many goroutines as before.
func awaitGoroutines(t *testing.T, before int) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for runtime.NumGoroutine() > before+5 { // timers and the sweeper come and go
		select {
		case <-deadline:
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		case <-time.Tick(10 * time.Millisecond):
		}
	}
}

// TestAServerThatDiesFailsItsExchanges: whatever they wait for, and whatever the body modes are.
func TestAServerThatDiesFailsItsExchanges(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"NONE", "STREAMED", "BUFFERED", fds} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			const clients = 4
			waiting := make(chan struct{}, clients)
			g := start(t, filter(mode), http.HandlerFunc(hello), func(ctx context.Context, _ *exchange.Exchange) error {
				waiting <- struct{}{}
				<-ctx.Done()
				return nil
			})
			results := make(chan string, clients)
			for range clients {
				go func() {
					status, err := post(t, g, "/", "small")
					results <- fmt.Sprint(status, err)
				}()
			}
			for range clients {
				<-waiting
			}
			g.server.Stop()
			for range clients {
				if result := <-results; !slices.Contains([]string{"500<nil>", "503<nil>", "504<nil>"}, strings.ReplaceAll(result, " ", "")) {
					t.Error(result)
				}
			}
		})
	}
}
