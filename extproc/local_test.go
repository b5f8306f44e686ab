package extproc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extproc"
)

// localReplies sees local replies, and no request.
type localReplies struct {
	exchange.ProcessorFunc
	local func(ctx context.Context, resp *exchange.Response) error
}

func (l localReplies) ProcessLocalReply(ctx context.Context, resp *exchange.Response) error {
	return l.local(ctx, resp)
}

// TestLocalRepliesComeToThoseWhoAsk: what an earlier filter answered can be edited like any response, as far
// as the modes allow.
func TestLocalRepliesComeToThoseWhoAsk(t *testing.T) {
	t.Parallel()
	everywhere := in("NONE", "NONE with override", "STREAMED", "STREAMED no-wait", "BUFFERED", "BUFFERED_PARTIAL", fds)
	read := func(resp *exchange.Response) error {
		body, err := resp.Body.Bytes(1000)
		resp.Header.Set("x-read", string(body))
		return err
	}
	cases := map[string]struct {
		edit   func(resp *exchange.Response) error
		serves func(mode string) bool
		want   string // status and body
	}{
		"nothing": {func(*exchange.Response) error { return nil }, everywhere, "403 RBAC: access denied"},
		"status":  {func(resp *exchange.Response) error { resp.SetStatus(404); return nil }, everywhere, "404 RBAC: access denied"},
		"reply":   {func(*exchange.Response) error { return exchange.Deny(418, "tea") }, everywhere, "418 tea"},
		"error":   {func(*exchange.Response) error { return errBoom }, everywhere, "503 processor unavailable"},
		"panic":   {func(*exchange.Response) error { panic("boom") }, everywhere, "503 processor unavailable"},
		"read":    {read, in("BUFFERED", "BUFFERED_PARTIAL", fds), "403 RBAC: access denied"},
		"set":     {func(resp *exchange.Response) error { resp.Body.Set([]byte("go away")); return nil }, everywhere, "403 go away"},
		"empty":   {func(resp *exchange.Response) error { resp.Body.Set(nil); return nil }, everywhere, "403 "},
		"transform": {func(resp *exchange.Response) error { resp.Body.Transform(growing); return nil },
			in("NONE with override", "STREAMED", "STREAMED no-wait", "BUFFERED", fds), "403 <RBAC: ACCESS DENIED>"},
		"read and transform": {func(resp *exchange.Response) error {
			err := read(resp)
			resp.Body.Transform(growing)
			return err
		}, in("BUFFERED", "BUFFERED_PARTIAL", fds), "403 <RBAC: ACCESS DENIED>"},
		"observe": {func(resp *exchange.Response) error {
			resp.Body.Observe(func(src io.Reader) error {
				if body, err := io.ReadAll(src); err != nil || string(body) != "RBAC: access denied" {
					return errors.Join(errBoom, err)
				}
				return nil
			})
			return nil
		}, in("NONE with override", "STREAMED", "STREAMED no-wait", "BUFFERED", fds), "403 RBAC: access denied"},
	}
	for _, mode := range append(slices.Clone(bodyModes), "NONE with override") {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			config := filter(mode)
			if mode == "NONE with override" {
				config = overriding("NONE")
			}
			name := ""
			g := startWith(t, config, http.HandlerFunc(hello), localReplies{
				func(context.Context, *exchange.Exchange) error {
					panic("called for a request that an earlier filter answered")
				},
				func(_ context.Context, resp *exchange.Response) error {
					resp.Header.Set("x-edit", "local")
					return cases[name].edit(resp)
				},
			}, extproc.WithFilter(exchange.FilterInfo{Trailers: true}))
			for name = range cases { // one at a time: nothing of the request is known
				c := cases[name]
				want, edited := c.want, !strings.HasPrefix(c.want, "5") && !strings.HasPrefix(c.want, "418")
				if !c.serves(mode) {
					want, edited = "503 processor unavailable", false
				}
				answer, body := g.get(t, "/blocked")
				if got := fmt.Sprint(answer.StatusCode, " ", body); got != want || edited != (answer.Header.Get("X-Edit") == "local") {
					t.Errorf("%s: %q, edit %q; want %q", name, got, answer.Header.Get("X-Edit"), want)
				}
			}
		})
	}
}
