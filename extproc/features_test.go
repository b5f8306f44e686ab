package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

func TestAnswersOfEarlierFiltersPassUnchanged(t *testing.T) {
	t.Parallel()
	for _, mode := range bodyModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			g := start(t, filter(mode), http.HandlerFunc(hello), func(context.Context, *exchange.Exchange) error {
				panic("called for a request that an earlier filter answered")
			})
			answer, body := g.get(t, "/blocked")
			if answer.StatusCode != http.StatusForbidden || !strings.Contains(body, "denied") {
				t.Errorf("answer %d %q", answer.StatusCode, body)
			}
		})
	}
}

func TestObservabilityModeChangesNothing(t *testing.T) {
	t.Parallel()
	outcomes := make(chan exchange.Outcome, 1)
	g := start(t, "observability_mode: true", http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
		x.OnComplete(func(o exchange.Outcome) { outcomes <- o })
		x.Request.Header.Set("x-test", "edited")
		resp, err := x.Next(ctx)
		if err != nil {
			return err
		}
		if x.Request.Path() != "/" || resp.Header.Get("x-from") != "upstream" {
			return fmt.Errorf("saw %s, %v", x.Request.Path(), resp.Header.HTTP())
		}
		return exchange.Deny(403, "not you")
	})
	if answer, body := g.get(t, "/"); answer.StatusCode != http.StatusOK || body != "" {
		t.Errorf("answer %d %q", answer.StatusCode, body)
	}
	if o := <-outcomes; o.Status != http.StatusOK || o.Err != nil {
		t.Errorf("outcome %+v", o)
	}
}

func TestMetadataReachesLaterFilters(t *testing.T) {
	t.Parallel()
	g := start(t, filter("NONE"), http.HandlerFunc(hello), func(_ context.Context, x *exchange.Exchange) error {
		if err := x.SetMetadata("gatehouse", "n", struct{}{}); err == nil {
			return errors.New("a struct was accepted as metadata")
		}
		return x.SetMetadata("gatehouse", "seal", x.Request.Header.Get("x-seal"))
	})
	if answer, _ := g.get(t, "/sealed", "x-seal", "right"); answer.StatusCode != http.StatusOK {
		t.Errorf("sealed: %d", answer.StatusCode)
	}
	if answer, _ := g.get(t, "/sealed", "x-seal", "wrong"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("not sealed: %d", answer.StatusCode)
	}
}

func TestProcessorSeesWhatEnvoyKnows(t *testing.T) {
	t.Parallel()
	config := filter("NONE") + `
              grpc_service: {envoy_grpc: {cluster_name: processor}, initial_metadata: [{key: x-policy, value: one}]}`
	g := start(t, config, http.HandlerFunc(hello), func(_ context.Context, x *exchange.Exchange) error {
		r := x.Request
		source, ok := x.Attribute("source.address")
		policy, _ := r.Extension("x-policy")
		return exchange.Deny(400, fmt.Sprintln(
			ok && r.Conn().Peer == netip.MustParseAddrPort(source), r.Conn().Client.IsLoopback(), policy,
			r.Method(), r.Path(), r.Scheme(), r.Head().Protocol, r.Head().Size, r.Body.Empty(), r.Head().ID != "",
			r.Header.Has(":path"), r.Header.Values("x-two"), x.Metadata("none") == nil))
	})
	_, body := g.get(t, "/p?q", "x-two", "a", "x-two", "\xff")
	if want := "true true one GET /p?q http HTTP/2 0 true true false [a \xff] true\n"; body != want {
		t.Errorf("saw  %q\nwant %q", body, want)
	}
}

func TestGRPCCallersGetTheReplysStatus(t *testing.T) {
	t.Parallel()
	g := start(t, filter("FULL_DUPLEX_STREAMED"), http.HandlerFunc(hello), func(_ context.Context, x *exchange.Exchange) error {
		reply := exchange.Deny(401, "who?")
		if x.Request.Path() == "/own" {
			reply.GRPC = new(uint32)
			*reply.GRPC = 8
		}
		return reply
	})
	for path, want := range map[string]string{"/derived": "16", "/own": "8"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url+path, strings.NewReader("\x00\x00\x00\x00\x00"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/grpc")
		answer, err := client(t).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Grpc-Status") != want {
			t.Errorf("%s: %d %v", path, answer.StatusCode, answer.Header)
		}
	}
}

func TestOutcomeIsReportedOnce(t *testing.T) {
	t.Parallel()
	outcomes := make(chan exchange.Outcome, 10)
	g := start(t, filter("NONE"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
		w.WriteHeader(http.StatusTeapot)
	}), func(ctx context.Context, x *exchange.Exchange) error {
		x.OnComplete(func(exchange.Outcome) { panic("hooks may fail") })
		x.OnComplete(func(o exchange.Outcome) { outcomes <- o })
		switch x.Request.Path() {
		case "/deny":
			return exchange.Deny(403, "")
		case "/panic":
			panic("boom")
		}
		if err := x.Finish(ctx); err != nil {
			return err
		}
		_, err := x.Next(ctx)
		if !errors.Is(err, exchange.ErrNextTwice) {
			return err
		}
		return nil
	})
	for path, want := range map[string]struct {
		status         int
		replied, error bool
	}{"/": {418, false, false}, "/deny": {403, true, false}, "/panic": {503, true, true}} {
		g.get(t, path)
		if o := <-outcomes; o.Status != want.status || (o.Reply != nil) != want.replied || (o.Err != nil) != want.error {
			t.Errorf("%s: outcome %+v", path, o)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url+"/hang", io.MultiReader(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for g.envoy.Stat(t, "cluster.upstream.upstream_rq_active") == 0 {
			continue
		}
		cancel()
	}()
	if _, err := client(t).RoundTrip(r); err == nil {
		t.Error("a cancelled request was answered")
	}
	if o := <-outcomes; !errors.Is(o.Err, exchange.ErrEnded) {
		t.Errorf("client gone: outcome %+v", o)
	}
	if len(outcomes) != 0 {
		t.Errorf("%d outcomes too many", len(outcomes))
	}
}

func TestInterleavedDirectionsFlow(t *testing.T) {
	t.Parallel()
	// A stream whose two directions interleave for ever must flow through a processor that has left.
	g := start(t, filter("FULL_DUPLEX_STREAMED"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		_ = control.Flush()
		buffer := make([]byte, 10)
		for {
			n, err := r.Body.Read(buffer)
			_, _ = w.Write(buffer[:n])
			_ = control.Flush()
			if err != nil {
				return
			}
		}
	}), func(ctx context.Context, x *exchange.Exchange) error { return x.Finish(ctx) })
	reader, writer := io.Pipe()
	answer := g.post(t, client(t), reader)
	if answer == nil {
		return
	}
	defer answer.Body.Close()
	for _, word := range []string{"ping", "pong", "again"} {
		if _, err := writer.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(word))
		if _, err := io.ReadFull(answer.Body, got); err != nil || string(got) != word {
			t.Fatalf("echo %q, %v", got, err)
		}
	}
	_ = writer.Close()
	if rest, err := io.ReadAll(answer.Body); err != nil || len(rest) != 0 {
		t.Errorf("rest %q, %v", rest, err)
	}
}
