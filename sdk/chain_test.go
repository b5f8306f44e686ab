package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// recorder is a host that writes down what happens, and upstream's answer is 200.
type recorder struct {
	events   []string
	request  *sdk.Request
	response *sdk.Response
	released bool
	want     sdk.Want
	body     string // of the reply
}

func (r *recorder) note(format string, args ...any) {
	r.events = append(r.events, fmt.Sprintf(format, args...))
}

func (r *recorder) Next(_ context.Context, want sdk.Want) (*sdk.Response, error) {
	r.want = want
	r.note("upstream sees %s", strings.Join(r.request.Header.Values("x"), ""))
	r.response = exchange.NewResponse(200, sdk.Header{}, sdk.Body{})
	return r.response, nil
}

func (r *recorder) Finish(context.Context) error {
	if !r.released {
		r.released = true
		r.note("client sees %d %s", r.response.Status(), strings.Join(r.response.Header.Values("y"), ""))
	}
	return nil
}

func (r *recorder) Reply(reply sdk.Reply) error {
	if r.released {
		return sdk.ErrResponseStarted
	}
	r.released, r.body = true, string(reply.Body)
	r.note("client sees reply %d %s", reply.Status(), strings.Join(reply.Header.Values("y"), ""))
	return nil
}

func (r *recorder) SetMetadata(_, key string, _ any) error { r.note("metadata %s", key); return nil }
func (r *recorder) Metadata(string) map[string]any         { return nil }
func (r *recorder) Attribute(string) (string, bool)        { return "", false }
func (r *recorder) OnComplete(func(sdk.Outcome))           {}
func (r *recorder) Filter() sdk.FilterInfo                 { return sdk.FilterInfo{} }
func (r *recorder) ExtendTimeout(time.Duration) error      { return nil }
func (r *recorder) Deadline() (time.Time, bool)            { return time.Time{}, false }
func (r *recorder) Base() exchange.Host                    { return r }
func (r *recorder) OpenReply(*sdk.Reply) (exchange.ReplyBody, error) {
	return nil, sdk.ErrNeeds
}

// stage edits both ways with its name and notes the end of its own code.
func stage(r *recorder, name string) sdk.Processor {
	return sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		x.Request.Header.Add("x", name)
		resp, err := x.Next(ctx)
		if err != nil {
			r.note("%s: %v", name, err)
			return err
		}
		resp.Header.Add("y", name)
		if resp.Local() {
			resp.Header.Add("y", "!")
		}
		if err := x.Finish(ctx); err != nil {
			r.note("%s: %v", name, err)
			return err
		}
		r.note("%s done", name)
		return nil
	})
}

var errBoom = errors.New("boom")

func TestChainsNest(t *testing.T) {
	t.Parallel()
	type process = func(ctx context.Context, x *sdk.Exchange) error
	denies := func(context.Context, *sdk.Exchange) error { return sdk.Deny(403, "") }
	fails := func(context.Context, *sdk.Exchange) error { return errBoom }
	swallows := func(ctx context.Context, x *sdk.Exchange) error { _, _ = x.Next(ctx); return nil }
	for name, c := range map[string]struct {
		middle process // between stage a and stage c; nil: none
		want   string
		err    error
	}{
		"requests inwards, responses outwards": {nil, "upstream sees ac|client sees 200 ca|c done|a done", nil},
		"one that leaves early": {func(_ context.Context, x *sdk.Exchange) error {
			x.Request.Header.Add("x", "b")
			return x.SetMetadata("ns", "k", "v")
		}, "metadata k|upstream sees abc|client sees 200 ca|c done|a done", nil},
		"a denial comes back as a response": {denies, "client sees reply 403 a!|a done", nil},
		"a reply does too":                  {func(_ context.Context, x *sdk.Exchange) error { return x.Reply(sdk.Reply{Code: 418}) }, "client sees reply 418 a!|a done", nil},
		"a denial after the response was seen": {func(ctx context.Context, x *sdk.Exchange) error {
			_, err := x.Next(ctx)
			return errors.Join(err, sdk.Deny(403, ""))
		}, "upstream sees ac|c: the exchange has ended|client sees reply 403 a!|a done", nil},
		"a failure": {fails, "a: inner processor: boom", errBoom},
		"a failure after Finish": {func(ctx context.Context, x *sdk.Exchange) error {
			return errors.Join(x.Finish(ctx), errBoom)
		}, "upstream sees ac|client sees 200 ca|c done|a: boom", errBoom},
		"one that ignores errors": {swallows, "upstream sees ac|client sees 200 ca|c done|a done", nil},
		"Next twice": {func(ctx context.Context, x *sdk.Exchange) error {
			_, _ = x.Next(ctx)
			_, err := x.Next(ctx)
			return err
		}, "upstream sees ac|c: the exchange has ended|a: inner processor: Next was called twice", sdk.ErrNextTwice},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{request: new(sdk.Request)}
			stages := []sdk.Processor{stage(r, "a"), stage(r, "c")}
			if c.middle != nil {
				stages = []sdk.Processor{stages[0], sdk.ProcessorFunc(c.middle), stages[1]}
			}
			err := sdk.Chain(stages...).Process(t.Context(), exchange.NewExchange(r.request, r))
			if got := strings.Join(r.events, "|"); got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s, %v\nwant %s, %v", got, err, c.want, c.err)
			}
		})
	}
}

// TestInnerFailuresStick: an outer processor must not turn a failure into a pass by not looking.
func TestInnerFailuresStick(t *testing.T) {
	t.Parallel()
	for name, outer := range map[string]sdk.ProcessorFunc{
		"ignored": func(ctx context.Context, x *sdk.Exchange) error { _, _ = x.Next(ctx); return nil },
		"recovered": func(ctx context.Context, x *sdk.Exchange) error {
			defer func() { _ = recover() }()
			_, _ = x.Next(ctx)
			return nil
		},
		"replaced": func(ctx context.Context, x *sdk.Exchange) error { _, _ = x.Next(ctx); return errBoom },
	} {
		for kind, inner := range map[string]sdk.ProcessorFunc{
			"error": func(context.Context, *sdk.Exchange) error { return errBoom },
			"panic": func(context.Context, *sdk.Exchange) error { panic("boom") },
		} {
			func() {
				defer func() { _ = recover() }() // a panic nobody recovered is the engine's to deny
				r := &recorder{request: new(sdk.Request)}
				if err := sdk.Chain(outer, inner).Process(t.Context(), exchange.NewExchange(r.request, r)); err == nil {
					t.Errorf("%s %s: passes", name, kind)
				}
			}()
		}
	}
	r := &recorder{request: new(sdk.Request)}
	replies := sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
		_, _ = x.Next(ctx)
		return sdk.Deny(http.StatusTeapot, "")
	})
	fails := sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { return errBoom })
	var reply *sdk.Reply
	if err := sdk.Chain(replies, fails).Process(t.Context(), exchange.NewExchange(r.request, r)); !errors.As(err, &reply) {
		t.Errorf("an outer reply to an inner failure: %v", err)
	}
}

// TestChainsShareBodies: what one processor has read the next reads from the beginning, and what one
// wants of the response the others don't take away.
func TestChainsShareBodies(t *testing.T) {
	t.Parallel()
	r := &recorder{request: new(sdk.Request)}
	r.request.Body = exchange.BufferedBody([]byte("a body"), false)
	reads := func(want sdk.Want) sdk.Processor {
		return sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			body, err := io.ReadAll(&x.Request.Body)
			r.note("%s %v", body, err)
			if want == 0 {
				return nil
			}
			_, err = x.Next(ctx, want)
			return err
		})
	}
	if err := sdk.Chain(reads(sdk.ObserveBody), reads(0), reads(sdk.Trailers)).Process(t.Context(), exchange.NewExchange(r.request, r)); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(r.events, "|"), "a body <nil>|a body <nil>|a body <nil>|upstream sees "; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if r.want != sdk.ObserveBody|sdk.Trailers {
		t.Errorf("wants %b", r.want)
	}
}

// TestOuterProcessorsRewriteDenials: the body of an inner denial is a body like others.
func TestOuterProcessorsRewriteDenials(t *testing.T) {
	t.Parallel()
	outer := func(edit func(b *sdk.Body)) sdk.Processor {
		return sdk.ProcessorFunc(func(ctx context.Context, x *sdk.Exchange) error {
			resp, err := x.Next(ctx, sdk.EditBody)
			if err != nil {
				return err
			}
			edit(&resp.Body)
			return nil
		})
	}
	denies := sdk.ProcessorFunc(func(context.Context, *sdk.Exchange) error { return sdk.Deny(403, "no") })
	for name, c := range map[string]struct {
		edit func(b *sdk.Body)
		want string
		err  error
	}{
		"set": {func(b *sdk.Body) { b.Set([]byte("other")) }, "other", nil},
		"transform": {func(b *sdk.Body) {
			b.Transform(func(dst io.Writer, src io.Reader) error {
				_, err := io.Copy(dst, io.MultiReader(src, src, strings.NewReader("!")))
				return err
			})
		}, "no!", nil},
		"a transform that fails": {func(b *sdk.Body) { b.Observe(func(io.Reader) error { return errBoom }) }, "", errBoom},
	} {
		r := &recorder{request: new(sdk.Request)}
		err := sdk.Chain(outer(c.edit), denies).Process(t.Context(), exchange.NewExchange(r.request, r))
		if !errors.Is(err, c.err) || r.body != c.want {
			t.Errorf("%s: %q, %v", name, r.body, err)
		}
	}
}
