package extproc_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// TestUpgradesPassOrAreRefused: an upgraded connection carries its bytes both ways, or isn't made where the
// filter's configuration would break it.
func TestUpgradesPassOrAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, config string
		leave, next  int // the status for a processor that leaves at once, and for one that waits
	}{
		{"NONE", filter("NONE"), 101, 101},
		{"NONE with override", overriding("NONE"), 101, 101},
		{"STREAMED", filter("STREAMED"), 101, 101},
		{"STREAMED no-wait", filter("STREAMED no-wait"), 101, 101},
		{"STREAMED with override", overriding("STREAMED"), 101, 101},
		{"BUFFERED", filter("BUFFERED"), 101, 503},
		{"BUFFERED with override", overriding("BUFFERED"), 101, 101},
		{"BUFFERED_PARTIAL", filter("BUFFERED_PARTIAL"), 101, 503},
		{fds, filter(fds), 503, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := start(t, c.config, http.HandlerFunc(upgraded), func(ctx context.Context, x *exchange.Exchange) error {
				if strings.HasSuffix(x.Request.Path(), "/next") {
					_, err := x.Next(ctx)
					return err
				}
				return nil
			})
			for path, want := range map[string]int{"/ws/leave": c.leave, "/ws/next": c.next} {
				for range 5 {
					converse(t, g, path, want)
				}
			}
		})
	}
}

// upgraded says back what it hears until it hears goodbye.
func upgraded(w http.ResponseWriter, _ *http.Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, line); err != nil || line == "goodbye\n" {
			return
		}
	}
}

func converse(t *testing.T, g gateway, path string, want int) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil || answer.StatusCode != want {
		t.Errorf("%s: %v, %v; want %d", path, answer, err, want)
		return
	}
	if want != http.StatusSwitchingProtocols {
		return
	}
	for _, line := range []string{"hello\n", strings.Repeat("x", 100_000) + "\n", "goodbye\n"} {
		if _, err := io.WriteString(conn, line); err != nil {
			t.Error(err)
		}
		if got, err := reader.ReadString('\n'); err != nil || got != line {
			t.Errorf("%s: heard %.20q of %d bytes, %v", path, got, len(got), err)
			return
		}
	}
}
