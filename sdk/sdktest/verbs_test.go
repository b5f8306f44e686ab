package sdktest_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/extproc"
	"github.com/gatehouse-proxy/gatehouse/sdk"
	"github.com/gatehouse-proxy/gatehouse/sdk/sdktest"
)

// whatProcessorsDo is the group of cases with processors of the SDK, which never leave an exchange hanging.
const whatProcessorsDo = "What processors do"

var errBoom = errors.New("boom")

// verb is one of the things that processors do.
type verb struct {
	name string
	run  sdk.ProcessorFunc
}

// served is a processor with a deadline that its failures don't have to wait for.
func served(p sdk.Processor) *extproc.Server {
	return extproc.NewServer(p, extproc.WithLogger(slog.New(slog.DiscardHandler)), extproc.WithDeadline(time.Second))
}

func upper(dst io.Writer, src io.Reader) error {
	all, err := io.ReadAll(src)
	if err == nil {
		_, err = io.WriteString(dst, "<"+strings.ToUpper(string(all))+">")
	}
	return err
}

// after runs fn on the response.
func after(want sdk.Want, fn func(*sdk.Exchange, *sdk.Response) error) sdk.ProcessorFunc {
	return func(ctx context.Context, x *sdk.Exchange) error {
		resp, err := x.Next(ctx, want)
		if err != nil {
			return err
		}
		if err := fn(x, resp); err != nil {
			return err
		}
		return x.Finish(ctx)
	}
}

func look(src io.Reader) error { _, err := io.Copy(io.Discard, src); return err }

func verbs() []verb {
	hold := func(then sdk.ProcessorFunc) sdk.ProcessorFunc {
		return func(ctx context.Context, x *sdk.Exchange) error {
			body, err := x.Request.Body.Bytes(1 << 20)
			if err != nil {
				return err
			}
			x.Request.Header.Set("x-read", string(body))
			return then(ctx, x)
		}
	}
	pass := after(0, func(*sdk.Exchange, *sdk.Response) error { return nil })
	onResponse := func(fn func(*sdk.Response)) sdk.ProcessorFunc {
		return after(sdk.EditBody, func(_ *sdk.Exchange, r *sdk.Response) error { fn(r); return nil })
	}
	fail := func(dst io.Writer, src io.Reader) error { _, _ = io.CopyN(dst, src, 3); return errBoom }
	return []verb{
		{"early return", func(_ context.Context, x *sdk.Exchange) error { x.Request.Header.Set("x-edit", "yes"); return nil }},
		{"Next", func(ctx context.Context, x *sdk.Exchange) error { _, err := x.Next(ctx); return err }},
		{"Finish", pass},
		{"Bytes", hold(pass)},
		{"Bytes, then Deny", hold(func(context.Context, *sdk.Exchange) error { return sdk.Deny(403, "no") })},
		{"Bytes over the limit", func(_ context.Context, x *sdk.Exchange) error { _, err := x.Request.Body.Bytes(2); return err }},
		{"Observe of both", func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Observe(look)
			return after(sdk.ObserveBody, func(_ *sdk.Exchange, r *sdk.Response) error { r.Body.Observe(look); return nil })(ctx, x)
		}},
		{"Transform of both", func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Transform(upper)
			return onResponse(func(r *sdk.Response) { r.Body.Transform(upper) })(ctx, x)
		}},
		{"Transform that returns early", func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Transform(func(dst io.Writer, src io.Reader) error { _, err := io.CopyN(dst, src, 3); return err })
			return pass(ctx, x)
		}},
		{"Transform that fails", func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Transform(fail)
			return pass(ctx, x)
		}},
		{"Set of the request", func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Set([]byte("another body"))
			return pass(ctx, x)
		}},
		{"Set of the response", onResponse(func(r *sdk.Response) { r.Body.Set([]byte("another body")) })},
		{"Set to nothing", onResponse(func(r *sdk.Response) { r.Body.Set(nil) })},
		{"Bytes of the response, then Deny", after(sdk.EditBody, func(_ *sdk.Exchange, r *sdk.Response) error {
			if _, err := r.Body.Bytes(1 << 20); err != nil {
				return err
			}
			return sdk.Deny(403, "no")
		})},
		{"trailers", after(sdk.Trailers, func(*sdk.Exchange, *sdk.Response) error { return nil })},
		{"Deny", func(context.Context, *sdk.Exchange) error { return sdk.Deny(403, "no") }},
		{"Deny after Next", after(0, func(*sdk.Exchange, *sdk.Response) error { return sdk.Deny(403, "no") })},
		{"error", func(context.Context, *sdk.Exchange) error { return errBoom }},
		{"panic", func(context.Context, *sdk.Exchange) error { panic("boom") }},
		{"block", func(ctx context.Context, _ *sdk.Exchange) error { <-ctx.Done(); return nil }},
		{"block after Next", after(0, func(x *sdk.Exchange, _ *sdk.Response) error { time.Sleep(2 * time.Second); return nil })},
	}
}

// verbCases: what the SDK makes of each verb in each mode.
func verbCases() (all []conform) {
	recommended := mode{name: "overrides from NONE"}
	for _, m := range append([]mode{recommended}, modes...) {
		f := m.filter()
		if m.name == recommended.name {
			f = sdktest.Recommended()
		}
		for _, v := range verbs() {
			for _, c := range []content{contents()[0], contents()[1], contents()[4]} {
				if strings.HasPrefix(v.name, "block") && c.name != "sized" || c.name == "no body" && m.name != recommended.name {
					continue
				}
				if v.name == "Transform of both" && m.noWait && c.trailer != nil {
					continue // whether the upstream gets to see the headers of what fails then is a race
				}
				r := c.request(sdktest.Together)
				r.Upstream = c.response(sdktest.Together)
				all = append(all, conform{group: whatProcessorsDo, name: v.name + ", " + m.name + ", " + c.name, processor: served(v.run), filter: f, request: r, racy: racyClose(m, v)})
			}
		}
	}
	return all
}

// racyClose: where an early return closes the stream, what comes next may be on its way.
func racyClose(m mode, v verb) string {
	if v.name == "early return" && m.name != "overrides from NONE" && m.BodyMode != sdktest.FullDuplex {
		return "the close meets what comes next"
	}
	return ""
}
