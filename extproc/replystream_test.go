package extproc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// TestRepliesAreStreamed: of any size where Envoy takes streams, else up to a limit in one message.
func TestRepliesAreStreamed(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	write := func(pieces ...[]byte) func(w http.ResponseWriter) error {
		return func(w http.ResponseWriter) error {
			w.Header().Set("X-From", "processor")
			w.Header().Set("Content-Length", "7") // is corrected
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot) // is ignored
			for _, p := range pieces {
				if _, err := w.Write(p); err != nil {
					return err
				}
			}
			return nil
		}
	}
	flush := func(then error) func(w http.ResponseWriter) error {
		return func(w http.ResponseWriter) error {
			if err := write([]byte("begun"))(w); err != nil {
				return err
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return err
			}
			return then
		}
	}
	cases := map[string]struct {
		reply  func(w http.ResponseWriter) error
		want   string // where it can be streamed
		single string // elsewhere
	}{
		"small":   {write([]byte("hello")), "202 5", "202 5"},
		"nothing": {func(http.ResponseWriter) error { return nil }, "200 0", "200 0"},
		"medium":  {write(large[:100_000], large[:500_000]), "202 600000", "202 600000"},
		"large":   {write(large, large[:10]), fmt.Sprint("202 ", len(large)+10), "503 21"},
		"flushed": {flush(nil), "202 5", "202 5"},
		"broken":  {flush(errBoom), "202 broken", "503 21"},
		"refused": {func(w http.ResponseWriter) error { _, _ = w.Write([]byte("x")); return exchange.Deny(403, "no") }, "403 2", "403 2"},
		"no body": {func(w http.ResponseWriter) error {
			w.WriteHeader(http.StatusNoContent)
			if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
				return errBoom
			}
			return nil
		}, "204 0", "204 0"},
		"trailers": {func(w http.ResponseWriter) error {
			w.Header().Set("Trailer", "X-End")
			_, err := w.Write([]byte("hello"))
			w.Header().Set("X-End", "over")
			w.Header().Set(http.TrailerPrefix+"X-More", "and out")
			return err
		}, "200 5 over and out", "503 21"},
		"late": {nil, "503 21", "503 21"},
	}
	for mode, streams := range map[string]bool{
		"NONE": true, "STREAMED": false, "BUFFERED": false, fds: true, "NONE with override": true,
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			config := filter(mode)
			if mode == "NONE with override" {
				config = overriding("NONE")
			}
			g := start(t, config, http.HandlerFunc(hello), func(ctx context.Context, x *exchange.Exchange) error {
				c := cases[strings.TrimPrefix(x.Request.Header.Get("x-case"), "hold ")]
				if strings.HasPrefix(x.Request.Header.Get("x-case"), "hold ") {
					if _, err := x.Request.Body.Bytes(100); err != nil {
						return err
					}
				}
				if c.reply != nil {
					return x.ReplyStream(c.reply)
				}
				if _, err := x.Next(ctx); err != nil {
					return err
				}
				return x.ReplyStream(flushLarge)
			})
			for name, c := range cases {
				for _, hold := range []string{"", "hold "} {
					want := c.single
					if streams {
						want = c.want
					}
					if hold != "" && (mode == "NONE" || mode == "STREAMED") {
						want = "503 21"
					}
					if got := replied(t, g, hold+name); got != want {
						t.Errorf("%s%s: %q, want %q", hold, name, got, want)
					}
				}
			}
		})
	}
}

// flushLarge is more than one message takes.
func flushLarge(w http.ResponseWriter) error {
	_, err := w.Write(make([]byte, exchange.MaxReply+1))
	return err
}

// replied is the status, the length of the body or that it broke off, and trailers.
func replied(t *testing.T, g gateway, name string) string {
	t.Helper()
	answer := g.post(t, client(t), io.MultiReader(strings.NewReader("a body")), "X-Case", name)
	if answer == nil {
		return ""
	}
	defer answer.Body.Close()
	n, err := io.Copy(io.Discard, answer.Body)
	if err != nil {
		return fmt.Sprint(answer.StatusCode, " broken")
	}
	if answer.StatusCode == http.StatusAccepted && answer.Header.Get("X-From") != "processor" {
		t.Errorf("%s: header %v", name, answer.Header)
	}
	out := fmt.Sprint(answer.StatusCode, " ", n)
	if end := answer.Trailer.Get("X-End"); end != "" {
		out += " " + end + " " + answer.Trailer.Get("X-More")
	}
	return out
}

// TestNobodyWaitsForAStreamedReply: what the processor writes for a minute, nobody is kept waiting by.
func TestNobodyWaitsForAStreamedReply(t *testing.T) {
	t.Parallel()
	waiting, release := make(chan int, 2), make(chan struct{})
	var g gateway
	begun := make(chan struct{})
	g = start(t, describing("v=1; timeout=9s", filter("NONE")), http.HandlerFunc(hello), func(_ context.Context, x *exchange.Exchange) error {
		<-begun // g is there
		count := func() {
			n, _ := g.served.Outstanding()
			waiting <- n
		}
		count()
		return x.ReplyStream(func(w http.ResponseWriter) error {
			if err := flushLarge(w); err != nil {
				return err
			}
			count()
			<-release
			return nil
		})
	})
	close(begun)
	answered := make(chan string)
	go func() { answered <- replied(t, g, "") }()
	if before, after := <-waiting, <-waiting; before != 1 || after != 0 {
		t.Errorf("%d wait before the reply, %d during it", before, after)
	}
	close(release)
	if got := <-answered; got != fmt.Sprint("200 ", exchange.MaxReply+1) {
		t.Error(got)
	}
}
