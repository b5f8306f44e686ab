package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	modev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// FuzzMessageOrders plays Envoy's side of streams whose order of messages, modes and processors follow
// from the input, and holds every answer against Envoy's rules.
func FuzzMessageOrders(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{5, 5, 3, 2, 1, 0, 4, 4, 4, 1, 2, 3})
	f.Fuzz(func(t *testing.T, choices []byte) { play(t, choices) })
}

func TestAnswersAreLegalInEveryOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range rounds(t, 20_000) {
		choices := make([]byte, random.IntN(70))
		for i := range choices {
			choices[i] = byte(random.Uint32())
		}
		play(t, choices)
		if t.Failed() {
			t.Fatalf("choices %v", choices)
		}
	}
}

// rounds is n, less in short runs, or what EXTPROC_ROUNDS says.
func rounds(t *testing.T, n int) int {
	t.Helper()
	if text := os.Getenv("EXTPROC_ROUNDS"); text != "" {
		given, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return given
	}
	if testing.Short() {
		return n / 5
	}
	return n
}

// play runs one stream and judges its end.
func play(t *testing.T, choices []byte) {
	t.Helper()
	e := &emulator{t: t, choices: choices}
	e.noWait = e.choose(4) == 0
	e.observe = e.choose(16) == 0
	e.override = e.choose(2) == 0
	e.localReply = e.choose(16) == 0
	e.mayExtend = e.choose(2) == 0
	described := "v=1; untyped=ns"
	if e.override {
		described += "; override"
	}
	if e.mayExtend {
		described += "; max-timeout=1h"
	}
	sendTrailers := e.choose(2) == 0
	if sendTrailers {
		described += "; trailers"
	}
	for d := range e.steps {
		s := &e.steps[d]
		s.mode = modev3.ProcessingMode_BodySendMode(e.choose(5))
		s.sendTrailers = sendTrailers || s.mode == modev3.ProcessingMode_FULL_DUPLEX_STREAMED
		for i := range e.choose(5) {
			s.chunks = append(s.chunks, fmt.Sprintf("<%d.%d>%s", d, i, strings.Repeat("x", max(e.choose(32)-29, 0)*40_000)))
		}
		s.trailers = len(s.chunks) > 0 && e.choose(2) == 0
		s.first = s.mode
	}
	e.ctx = metadata.NewIncomingContext(t.Context(), metadata.Pairs("x-gatehouse-extproc", described))
	acts := actions()
	act := acts[e.choose(len(acts))]
	registrar := new(registry)
	var processor exchange.Processor = exchange.ProcessorFunc(act.run)
	if act.local != nil {
		processor = localReplies{act.run, act.local}
	}
	extproc.NewServer(processor, quiet, extproc.WithDeadline(0)).Register(registrar)
	err := registrar.desc.Streams[0].Handler(registrar.impl, e)
	e.judge(err, act)
	if t.Failed() {
		t.Logf("%s: override %v, no wait %v, local reply %v, observe %v, replied %v, error %v", act.name, e.override, e.noWait, e.localReply, e.observe, e.replied, err)
		for d := range e.steps {
			s := &e.steps[d]
			t.Logf("direction %d: %v, then %v, %d chunks, trailers %v (sent: %v)", d, s.first, s.mode, len(s.chunks), s.trailers, s.sendTrailers)
		}
	}
}

// action is one of the things that processors do, and what it makes of bodies that exist if it isn't
// denied; nil is nothing.
type action struct {
	name              string
	run               func(ctx context.Context, x *exchange.Exchange) error
	request, response func(string) string
	denies            bool // nothing of the request may go on
	empty             func(d int) string
	// local sees local replies, localBody is what becomes of their bodies.
	local     func(ctx context.Context, resp *exchange.Response) error
	localBody func(string) string
}

func actions() []action {
	grow := func(s string) string { return string(grown([]byte(s))) }
	another := func(string) string { return "another" }
	fail := func(dst io.Writer, src io.Reader) error { _, _ = io.CopyN(dst, src, 3); return errBoom }
	return []action{
		{name: "leave", run: func(_ context.Context, x *exchange.Exchange) error { x.Request.Header.Set("x-edit", "yes"); return nil }},
		{name: "deny", denies: true, run: func(context.Context, *exchange.Exchange) error { return exchange.Deny(403, "no") }},
		{name: "fail", denies: true, run: func(context.Context, *exchange.Exchange) error { return errBoom }},
		{name: "panic", denies: true, run: func(context.Context, *exchange.Exchange) error { panic("boom") }},
		{name: "next", run: next(0, nil)},
		{name: "next and deny", run: next(0, func(*exchange.Exchange, *exchange.Response) error { return exchange.Deny(403, "no") })},
		{name: "next and reply", run: next(0, func(x *exchange.Exchange, _ *exchange.Response) error { return x.Reply(exchange.Reply{Code: 403}) })},
		{name: "finish", run: finish(0, nil)},
		{name: "finish and fail", run: func(ctx context.Context, x *exchange.Exchange) error { return errors.Join(x.Finish(ctx), errBoom) }},
		{name: "read", run: read(nil)},
		{name: "read and deny", denies: true, run: read(func(context.Context, *exchange.Exchange) error { return exchange.Deny(403, "no") })},
		{name: "read and next", run: read(next(0, nil))},
		{name: "read, next and grow", run: read(next(exchange.EditBody, growResponse)), response: grow},
		{name: "read a byte", run: func(ctx context.Context, x *exchange.Exchange) error {
			if _, err := x.Request.Body.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			return x.Finish(ctx)
		}},
		{name: "grow the request", request: grow, run: func(_ context.Context, x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			return nil
		}},
		{name: "grow both", request: grow, response: grow, run: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			return finish(exchange.EditBody, growResponse)(ctx, x)
		}},
		{name: "grow twice with a read between", request: func(s string) string { return grow(grow(s)) }, run: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			return read(func(_ context.Context, x *exchange.Exchange) error { x.Request.Body.Transform(growing); return nil })(ctx, x)
		}},
		{name: "set", request: another, empty: func(d int) string { return []string{"another", ""}[d] }, run: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Set([]byte("another"))
			return next(0, nil)(ctx, x)
		}},
		{name: "read and set", request: another, empty: func(d int) string { return []string{"another", ""}[d] }, run: read(func(_ context.Context, x *exchange.Exchange) error {
			x.Request.Body.Set([]byte("another"))
			return nil
		})},
		{name: "set the response", response: another, empty: func(d int) string { return []string{"", "another"}[d] },
			run: finish(exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
				resp.Body.Set([]byte("another"))
				return nil
			})},
		{name: "read the response", run: finish(exchange.EditBody, readResponse)},
		{name: "read the response and deny", run: next(exchange.EditBody, func(x *exchange.Exchange, resp *exchange.Response) error {
			return errors.Join(readResponse(x, resp), exchange.Deny(403, "no"))
		})},
		{name: "observe both", run: observe},
		{name: "fail in the request", request: another, run: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Body.Transform(fail)
			return next(0, nil)(ctx, x)
		}},
		{name: "fail in the response", response: another, run: next(exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
			resp.Body.Transform(fail)
			return nil
		})},
		{name: "trailers", run: finish(exchange.Trailers, nil)},
		{name: "grow the response by middleware", response: grow, run: sdk.Middleware(growResponses).Process},
		{name: "grow the request by middleware", request: grow, run: sdk.Middleware(growRequests).Process},
		{name: "grow both by middleware", request: grow, response: grow,
			run: sdk.Middleware(func(next http.Handler) http.Handler { return growRequests(growResponses(next)) }).Process},
		{name: "middleware that looks", run: sdk.Middleware(func(next http.Handler) http.Handler { return next }).Process},
		{name: "stream a reply", denies: true, run: streams(200_000, nil)},
		{name: "break a streamed reply", denies: true, run: streams(200_000, errBoom)},
		{name: "stream a small reply", denies: true, run: streams(10, nil)},
		{name: "read and stream a reply", denies: true, run: read(streams(100_000, nil))},
		{name: "next and stream a reply", run: next(0, func(x *exchange.Exchange, _ *exchange.Response) error {
			return streams(100_000, nil)(context.Background(), x)
		})},
		{name: "extend, next and extend", run: func(ctx context.Context, x *exchange.Exchange) error {
			extend(x)
			return next(0, func(x *exchange.Exchange, _ *exchange.Response) error { extend(x); return nil })(ctx, x)
		}},
		{name: "read, extend and grow", run: read(func(ctx context.Context, x *exchange.Exchange) error {
			extend(x)
			return next(exchange.EditBody, growResponse)(ctx, x)
		}), response: grow},
		{name: "grow local replies", run: func(context.Context, *exchange.Exchange) error { return nil }, localBody: grow,
			local: func(_ context.Context, resp *exchange.Response) error { return growResponse(nil, resp) }},
		{name: "read local replies", run: next(0, nil),
			local: func(_ context.Context, resp *exchange.Response) error { return readResponse(nil, resp) }},
		{name: "replace local replies", run: next(0, nil), localBody: another,
			local: func(_ context.Context, resp *exchange.Response) error {
				if !resp.Body.Empty() {
					resp.Body.Set([]byte("another"))
				}
				return nil
			}},
		{name: "fail at local replies", run: next(0, nil), local: func(context.Context, *exchange.Response) error { return errBoom }},
	}
}

// growResponses is growing as middleware: its last byte is written when next has returned.
func growResponses(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := &growingWriter{ResponseWriter: w}
		next.ServeHTTP(g, r)
		if g.begun {
			_, _ = io.WriteString(w, ">")
		}
	})
}

type growingWriter struct {
	http.ResponseWriter

	begun bool
}

func (g *growingWriter) Write(p []byte) (int, error) {
	if !g.begun {
		g.begun = true
		if _, err := io.WriteString(g.ResponseWriter, "<"); err != nil {
			return 0, err
		}
	}
	return g.ResponseWriter.Write(upper(p))
}

// growRequests is growing as a Body.
func growRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("<"), upperReader{r.Body}, strings.NewReader(">")))
		}
		next.ServeHTTP(w, r)
	})
}

type upperReader struct{ src io.Reader }

func (u upperReader) Read(p []byte) (int, error) {
	n, err := u.src.Read(p)
	copy(p, upper(p[:n]))
	return n, err
}

// streams replies with n bytes and then an error.
func streams(n int, err error) exchange.ProcessorFunc {
	return func(_ context.Context, x *exchange.Exchange) error {
		return x.ReplyStream(func(w http.ResponseWriter) error {
			for range 10 {
				if _, err := w.Write(make([]byte, n/10)); err != nil {
					return err
				}
			}
			return err
		})
	}
}

// extend asks for a longer timeout twice, where there may be none to have.
func extend(x *exchange.Exchange) {
	for range 2 {
		_ = x.ExtendTimeout(time.Minute)
	}
}

func next(want exchange.Want, fn func(*exchange.Exchange, *exchange.Response) error) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		resp, err := x.Next(ctx, want)
		if err != nil || fn == nil {
			return err
		}
		resp.Header.Set("x-edit", "yes")
		return fn(x, resp)
	}
}

func finish(want exchange.Want, fn func(*exchange.Exchange, *exchange.Response) error) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		if err := next(want, fn)(ctx, x); err != nil {
			return err
		}
		return x.Finish(ctx)
	}
}

func read(then exchange.ProcessorFunc) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		x.Request.Header.Set("x-edit", "yes")
		if _, err := x.Request.Body.Bytes(1 << 20); err != nil || then == nil {
			return err
		}
		return then(ctx, x)
	}
}

func growResponse(_ *exchange.Exchange, resp *exchange.Response) error {
	resp.Body.Transform(growing)
	return nil
}

func readResponse(_ *exchange.Exchange, resp *exchange.Response) error {
	_, err := resp.Body.Bytes(1 << 20)
	return err
}

// observe fails if what its functions see isn't what they are told is the end of it.
func observe(ctx context.Context, x *exchange.Exchange) error {
	look := func(src io.Reader) error { _, err := io.Copy(io.Discard, src); return err }
	x.Request.Body.Observe(look)
	return finish(exchange.ObserveBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
		resp.Body.Observe(look)
		return nil
	})(ctx, x)
}
