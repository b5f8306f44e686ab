package sdktest_test

import (
	"context"
	"io"
	"net/http"

	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// replyVerbs are further things that processors do: replies in parts, and functions that don't come to their
// end.
func replyVerbs() []verb {
	stream := func(_ context.Context, x *sdk.Exchange) error {
		return x.ReplyStream(func(w http.ResponseWriter) error {
			w.WriteHeader(http.StatusAccepted)
			_, err := io.WriteString(w, "one,two")
			return err
		})
	}
	return []verb{
		{"ReplyStream", stream},
		{"Bytes, then ReplyStream", func(ctx context.Context, x *sdk.Exchange) error {
			if _, err := x.Request.Body.Bytes(1 << 20); err != nil {
				return err
			}
			return stream(ctx, x)
		}},
		{"ReplyStream after Next", after(0, func(x *sdk.Exchange, _ *sdk.Response) error { return stream(context.Background(), x) })},
		{"Reply", func(_ context.Context, x *sdk.Exchange) error {
			return x.Reply(sdk.Reply{Code: http.StatusOK, Body: []byte("done"), Header: http.Header{"X-Why": {"because"}}})
		}},
		{"Read of a part", func(ctx context.Context, x *sdk.Exchange) error {
			if _, err := io.ReadFull(&x.Request.Body, make([]byte, 3)); err != nil {
				return err
			}
			return x.Finish(ctx)
		}},
		{"Observe that returns early", func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Observe(func(src io.Reader) error { _, err := io.CopyN(io.Discard, src, 3); return err })
			return x.Finish(ctx)
		}},
		{"Observe that panics", func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Observe(func(io.Reader) error { panic("boom") })
			return x.Finish(ctx)
		}},
		{"Transform of the response that panics", after(sdk.EditBody, func(_ *sdk.Exchange, r *sdk.Response) error {
			r.Body.Transform(func(io.Writer, io.Reader) error { panic("boom") })
			return nil
		})},
		{"Set without a body", func(ctx context.Context, x *sdk.Exchange) error {
			x.Request.Body.Set([]byte("a body of its own"))
			return x.Finish(ctx)
		}},
	}
}

// replyVerbCases: what the SDK makes of them in each mode.
func replyVerbCases() (all []conform) {
	for _, m := range modes {
		for _, v := range replyVerbs() {
			c := contents()[1]
			if v.name == "Set without a body" {
				c = contents()[0]
			}
			r := c.request(0)
			r.Upstream = c.response(0)
			all = append(all, conform{group: whatProcessorsDo, name: v.name + ", " + m.name + ", " + c.name, processor: served(v.run), filter: m.filter(), request: r})
		}
	}
	return all
}
