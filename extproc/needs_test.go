package extproc_test

import (
	"bytes"
	"context"
	"crypto/sha256"
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

// overriding is the filter's configuration for a processor that may change its modes.
func overriding(mode string) string {
	return filter(mode) + `
              allow_mode_override: true
              grpc_service: {envoy_grpc: {cluster_name: processor}, initial_metadata: [{key: x-gatehouse-extproc, value: "v=1; override; timeout=10s; trailers; untyped=gatehouse"}]}`
}

// need is a processor that touches bodies, what must come of them, and what it needs for that.
type need struct {
	processor         exchange.ProcessorFunc
	request, response func(sent []byte) []byte // what upstream and client must get
	serves            func(mode string) bool   // without overrides, for messages with a body
	wants             bool                     // it asks for the response's body, so that one without isn't served either
	tails             string                   // what has a tail at its end: "request", "both"
	holds             bool                     // needs the whole request before its headers go on
}

func same(sent []byte) []byte { return sent }

// grown is what growing makes of a body that exists.
func grown(sent []byte) []byte {
	if len(sent) == 0 {
		return nil
	}
	return append(append([]byte("<"), upper(sent)...), '>')
}

// upper works on any bytes, wherever they are cut.
func upper(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		out[i] = c
	}
	return out
}

// growing keeps its last byte until the end, has a tail, and writes pieces of other sizes than it reads.
func growing(dst io.Writer, src io.Reader) error {
	if _, err := io.WriteString(dst, "<"); err != nil {
		return err
	}
	buffer := make([]byte, 70_001)
	for {
		n, err := src.Read(buffer)
		if _, werr := dst.Write(upper(buffer[:n])); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			_, err = io.WriteString(dst, ">")
			return err
		}
		if err != nil {
			return err
		}
	}
}

func in(modes ...string) func(string) bool {
	return func(mode string) bool { return slices.Contains(modes, mode) }
}

const fds = "FULL_DUPLEX_STREAMED"

func digest(b []byte) string { return fmt.Sprintf("%d %x", len(b), sha256.Sum256(b)) }

// bothWays runs edit over the response when its headers are there.
func bothWays(request func(x *exchange.Exchange) error, want exchange.Want, response func(x *exchange.Exchange, resp *exchange.Response) error) exchange.ProcessorFunc {
	return func(ctx context.Context, x *exchange.Exchange) error {
		if err := request(x); err != nil {
			return err
		}
		x.Request.Header.Set("x-edit", "request")
		resp, err := x.Next(ctx, want)
		if err != nil {
			return err
		}
		if err := response(x, resp); err != nil {
			return err
		}
		resp.Header.Set("x-edit", "response")
		return nil
	}
}

func needs() map[string]need {
	none := func(*exchange.Exchange) error { return nil }
	noneBack := func(*exchange.Exchange, *exchange.Response) error { return nil }
	nobody := func(string) bool { return false }
	return map[string]need{
		"read the request": {processor: bothWays(func(x *exchange.Exchange) error {
			x.Request.Body.Limit(2 << 20)
			body, err := io.ReadAll(&x.Request.Body)
			x.Request.Header.Set("x-read", digest(body))
			return err
		}, 0, noneBack), request: same, response: same, serves: in("BUFFERED", fds), holds: true},
		"read a part of the request": {processor: bothWays(func(x *exchange.Exchange) error {
			_, err := x.Request.Body.Read(make([]byte, 5))
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}, 0, noneBack), request: same, response: same, serves: in("BUFFERED", fds), holds: true},
		"read the request and leave": {processor: func(_ context.Context, x *exchange.Exchange) error {
			x.Request.Header.Set("x-edit", "request")
			_, err := x.Request.Body.Bytes(2 << 20)
			return err
		}, request: same, response: same, serves: in("BUFFERED", fds), holds: true},
		"read the response": {processor: bothWays(none, exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
			body, err := resp.Body.Bytes(2 << 20)
			resp.Header.Set("x-read", digest(body))
			return err
		}), request: same, response: same, serves: in("BUFFERED", fds), wants: true},
		"observe both": {processor: func(ctx context.Context, x *exchange.Exchange) error {
			x.Request.Header.Set("x-edit", "request")
			seen := [2]int{}
			count := func(n *int) func(io.Reader) error {
				return func(src io.Reader) error {
					data, err := io.ReadAll(src)
					*n = len(data)
					return err
				}
			}
			x.Request.Body.Observe(count(&seen[0]))
			resp, err := x.Next(ctx, exchange.ObserveBody)
			if err != nil {
				return err
			}
			resp.Header.Set("x-edit", "response")
			resp.Body.Observe(count(&seen[1]))
			if err := x.Finish(ctx); err != nil {
				return err
			}
			return x.SetMetadata("gatehouse", "seen", fmt.Sprint(seen))
		}, request: same, response: same, serves: in("STREAMED", "STREAMED no-wait", "BUFFERED", fds), wants: true},
		"observe a part": {processor: bothWays(func(x *exchange.Exchange) error {
			x.Request.Body.Observe(func(io.Reader) error { return nil })
			return nil
		}, 0, noneBack), request: same, response: same, serves: in("STREAMED", "STREAMED no-wait", "BUFFERED", fds)},
		"transform both": {processor: bothWays(func(x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			return nil
		}, exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
			resp.Body.Transform(growing)
			return nil
		}), request: grown, response: grown, serves: in("STREAMED", "STREAMED no-wait", "BUFFERED", fds), wants: true, tails: "both"},
		"transform twice": {processor: bothWays(func(x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			x.Request.Body.Transform(growing)
			return nil
		}, 0, noneBack), request: func(b []byte) []byte { return grown(grown(b)) }, response: same,
			serves: in("STREAMED", "STREAMED no-wait", "BUFFERED", fds), tails: "request"},
		"transform, read, transform": {processor: bothWays(func(x *exchange.Exchange) error {
			x.Request.Body.Transform(growing)
			body, err := x.Request.Body.Bytes(2 << 20)
			if err == nil && len(body) > 0 && body[0] != '<' {
				err = errors.New("the transform was passed by")
			}
			x.Request.Body.Transform(growing)
			return err
		}, 0, noneBack), request: func(b []byte) []byte { return grown(grown(b)) }, response: same, serves: in("BUFFERED", fds), holds: true},
		"cut both": {processor: bothWays(func(x *exchange.Exchange) error {
			x.Request.Body.Transform(func(dst io.Writer, src io.Reader) error { _, err := io.CopyN(dst, src, 3); return err })
			return nil
		}, exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
			resp.Body.Transform(func(io.Writer, io.Reader) error { return nil })
			return nil
		}), request: func(b []byte) []byte { return b[:min(len(b), 3)] }, response: func([]byte) []byte { return nil },
			serves: in("STREAMED", "STREAMED no-wait", "BUFFERED", fds), wants: true},
		"set the request": {processor: bothWays(func(x *exchange.Exchange) error {
			x.Request.Body.Set([]byte("another body"))
			return nil
		}, 0, noneBack), request: func([]byte) []byte { return []byte("another body") }, response: same,
			serves: in("NONE", "STREAMED", "STREAMED no-wait", "BUFFERED", "BUFFERED_PARTIAL", fds)},
		"empty the request": {processor: bothWays(func(x *exchange.Exchange) error {
			x.Request.Body.Set(nil)
			return nil
		}, 0, noneBack), request: func([]byte) []byte { return nil }, response: same,
			serves: in("NONE", "STREAMED", "STREAMED no-wait", "BUFFERED", "BUFFERED_PARTIAL", fds)},
		"read and set the request": {processor: bothWays(func(x *exchange.Exchange) error {
			body, err := x.Request.Body.Bytes(2 << 20)
			x.Request.Body.Set(grown(body))
			return err
		}, 0, noneBack), request: grown, response: same, serves: in("BUFFERED", fds), holds: true},
		"set the response": {processor: bothWays(none, exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
			if resp.Body.Empty() {
				return nil // 204
			}
			resp.Body.Set([]byte("another body"))
			return nil
		}), request: same, response: func(b []byte) []byte {
			if b == nil {
				return nil
			}
			return []byte("another body")
		}, serves: in("STREAMED", "STREAMED no-wait", "BUFFERED", fds), wants: true},
		"read the request and transform the response": {processor: bothWays(func(x *exchange.Exchange) error {
			_, err := x.Request.Body.Bytes(2 << 20)
			return err
		}, exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
			resp.Body.Transform(growing)
			return nil
		}), request: same, response: grown, serves: in("BUFFERED", fds), wants: true, holds: true},
		"read both": {processor: bothWays(func(x *exchange.Exchange) error {
			_, err := x.Request.Body.Bytes(2 << 20)
			return err
		}, exchange.EditBody, func(_ *exchange.Exchange, resp *exchange.Response) error {
			_, err := resp.Body.Bytes(2 << 20)
			return err
		}), request: same, response: same, serves: in("BUFFERED", fds), wants: true, holds: true},
		"ask for what was not told": {processor: bothWays(none, 0, func(_ *exchange.Exchange, resp *exchange.Response) error {
			if _, err := resp.Body.Bytes(1); err == nil {
				return exchange.Deny(418, "the body was shown")
			}
			return nil // the error stays the verdict
		}), request: same, response: same, serves: nobody},
	}
}

// TestBodiesAreTouched runs every use of bodies in every mode, with and without overrides, over every
// kind of body: it works to the byte, or it is the failure verdict.
func TestBodiesAreTouched(t *testing.T) {
	t.Parallel()
	for _, mode := range bodyModes {
		for _, override := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s override %v", mode, override), func(t *testing.T) {
				t.Parallel()
				all := needs()
				config := filter(mode)
				if override {
					config = overriding(mode)
				}
				g := start(t, config, http.HandlerFunc(mirror), func(ctx context.Context, x *exchange.Exchange) error {
					return all[x.Request.Header.Get("x-case")].processor(ctx, x)
				}, extproc.WithFilter(exchange.FilterInfo{Trailers: true, Untyped: []string{"gatehouse"}}))
				kinds, transports := bodyKinds, map[string]*http.Transport{"HTTP/1.1": client1(t), "HTTP/2": client(t)}
				if testing.Short() {
					kinds = []string{"none", "trailers"}
					delete(transports, "HTTP/1.1")
				}
				for version, transport := range transports {
					for name, n := range all {
						for _, request := range kinds {
							for _, response := range kinds {
								if version == "HTTP/1.1" && (request == "trailers" || response == "trailers") {
									continue
								}
								c := touched{n, name, mode, request, response, override}
								if c.undecided() {
									continue
								}
								t.Run(strings.Join([]string{version, name, request, response}, "/"), func(t *testing.T) {
									touch(t, transport, g.url, c)
								})
							}
						}
					}
				}
				if n := g.envoy.Stat(t, "http.web.ext_proc.spurious_msgs_received"); n != 0 {
					t.Errorf("%d spurious messages", n)
				}
			})
		}
	}
}

type touched struct {
	need
	name, mode, request, response string
	override                      bool
}

// status says what must come of it: 200, 503, or 413 where only a prefix is known.
func (c *touched) status() int {
	partial := c.mode == "BUFFERED_PARTIAL" && c.holds
	switch {
	case c.tails != "" && c.streamed() && c.request == "trailers": // TransformTailWithTrailersStreamed
		return http.StatusServiceUnavailable
	case c.name == "read the response" && c.streamed() && c.response == "none":
		return http.StatusOK
	case c.serves(c.mode), !c.wants && c.request == "none" && c.name != "ask for what was not told":
		return http.StatusOK
	case partial && c.request == "trailers":
		return http.StatusRequestEntityTooLarge
	case partial, c.override && c.mode != "STREAMED no-wait" && c.name != "ask for what was not told":
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// streamed says that the mode is STREAMED and stays so.
func (c *touched) streamed() bool {
	return c.mode == "STREAMED" && !c.override || c.mode == "STREAMED no-wait"
}

// undecided says that what a processor gets depends on which of the two bodies there are: it holds the
// one and wants the other, and the mode serves one of these only. Both have cases of their own.
func (c *touched) undecided() bool {
	return c.wants && c.holds && (c.streamed() || c.mode == "BUFFERED_PARTIAL")
}

func touch(t *testing.T, transport http.RoundTripper, url string, c touched) {
	t.Helper()
	sent := content(c.request)
	r := requestOf(t, url, c.request, c.response)
	r.Header.Set("X-Case", c.name)
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if c.tails == "both" && c.streamed() && c.response == "trailers" {
		if err == nil && answer.StatusCode == http.StatusOK {
			t.Error("a response without its tail looks complete")
		}
		return
	}
	if answer.StatusCode != c.status() && (answer.StatusCode != http.StatusNoContent || c.status() != http.StatusOK) {
		t.Fatalf("status %d %.60q (%v), want %d", answer.StatusCode, got, err, c.status())
	}
	if c.status() != http.StatusOK {
		return
	}
	if want := c.need.response(content(c.response)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("response body has %d bytes, want %d (%v)", len(got), len(want), err)
	}
	if want := digest(c.need.request(sent)); !strings.HasPrefix(answer.Header.Get("X-Seen"), want) {
		t.Errorf("upstream saw %q, want %q", answer.Header.Get("X-Seen"), want)
	}
	if answer.Header.Get("X-Seen-Edit") != "request" {
		t.Error("the request's edit is lost")
	}
}
