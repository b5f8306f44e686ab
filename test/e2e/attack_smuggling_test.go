package e2e

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAttackBySmuggling: what stands behind or inside of a request to an open route is either refused with it
// or is a request of its own, and meets its own policy.
func TestAttackBySmuggling(t *testing.T) {
	t.Parallel()
	_, secret, port := attackedGateway(t)
	const (
		inner   = "GET /admin/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
		chunked = "Transfer-Encoding: chunked\r\n"
		upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
	)
	end := "0\r\n\r\n" + inner
	for name, request := range map[string]string{
		"length and chunks":     "Content-Length: 50\r\n" + chunked + "\r\n" + end,
		"chunks and length":     chunked + "Content-Length: 4\r\n\r\n2c\r\n" + inner + "\r\n0\r\n\r\n",
		"space in the name":     "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n" + end,
		"unknown encoding":      "Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n" + end,
		"identity last":         "Transfer-Encoding: chunked, identity\r\n\r\n" + end,
		"two encodings":         chunked + "Transfer-Encoding: identity\r\n\r\n" + end,
		"vertical tab":          "Transfer-Encoding: \x0bchunked\r\nContent-Length: 5\r\n\r\n" + end,
		"underscore":            "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n" + end,
		"two lengths":           "Content-Length: 5\r\nContent-Length: 0\r\n\r\n" + end,
		"a list of lengths":     "Content-Length: 5, 5\r\n\r\n" + end,
		"a signed length":       "Content-Length: +5\r\n\r\n" + end,
		"a negative length":     "Content-Length: -1\r\n\r\n" + inner,
		"a hexadecimal length":  "Content-Length: 0x5\r\n\r\n" + end,
		"an overflowing chunk":  chunked + "\r\n10000000000000005\r\nhello\r\n" + end,
		"a signed chunk":        chunked + "\r\n-5\r\nhello\r\n" + end,
		"a prefixed chunk":      chunked + "\r\n0x5\r\nhello\r\n" + end,
		"a chunk's extension":   chunked + "\r\n5;x=\"\r\nhello\r\n" + end,
		"an extension's break":  chunked + "\r\n5;\nhello\r\n" + end,
		"bare line feeds":       "Transfer-Encoding: chunked\n\n0\n\n" + inner,
		"a bare feed at an end": chunked + "\r\n5\r\nhello\n" + end,
		"a bare carriage":       "X: y\r" + chunked + "Content-Length: 5\r\n\r\n" + end,
		"a trailer's header":    chunked + "Trailer: host\r\n\r\n0\r\nhost: admin.example\r\nauthorization: Basic eDp4\r\n\r\n" + inner,
		"no body":               "\r\n" + inner,
		"a body that is one":    fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner),
		"an upgrade":            upgrade + "\r\n" + inner,
		"an upgrade to h2c":     "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n" + inner,
		"an expectation":        "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + inner,
	} {
		for _, method := range []string{"GET", "POST"} {
			conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second)) // some of them are left waiting for more
			// The last request has the connection closed behind it, however many there were.
			_, _ = io.WriteString(conn, method+" /open HTTP/1.1\r\nHost: h\r\n"+request+"GET /admin/last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			_, _ = io.ReadAll(conn)
			_ = conn.Close()
			if n := len(secret.Requests()); n != 0 {
				t.Fatalf("%s %s: %d requests reached the backend: %+v", method, name, n, secret.Requests())
			}
		}
	}
}

// TestAttackOnIdentityHeaders: in whatever way a request brings the header that says who is calling, the
// backend gets none but the gateway's own.
func TestAttackOnIdentityHeaders(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	issuer := gatewaytest.NewIssuer(t, "https://idp.example")
	const user = "  basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}\n"
	claims := jwtSpec(issuer, "      extractFrom: {cookies: [session], params: [session]}\n      claimToHeaders: [{claim: sub, header: x-user}]\n    optional: true")
	gatewaytest.Start(t, all(gatewayManifest(port), usersManifest, backendManifest("b", backend.Port),
		routeManifest("checked", prefix("/checked"), "b"), policyManifest("checked", user),
		routeManifest("streamed", prefix("/streamed"), "b"), policyManifest("streamed", "  enforcement: ExtProc\n"+user),
		routeManifest("dry", prefix("/dry"), "b"), policyManifest("dry", "  dryRun: true\n"+user),
		routeManifest("claims", prefix("/claims"), "b"), policyManifest("claims", claims)))
	const password = basicAlice + "\r\n"
	for name, lines := range map[string]string{
		"twice": "X-User: root\r\nx-user: root\r\n", "underscore": "x_user: root\r\n", "mixed": "X_uSeR: root\r\n", "space": "x-user : root\r\n",
		"folded": "x-a: 1\r\n x-user: root\r\n", "bare carriage": "x-a: 1\rx-user: root\r\n", "bare feed": "x-a: 1\nx-user: root\n", "zero": "x-user\x00: root\r\n",
		"dropped": "Connection: x-user\r\n", "dropped with others": "Connection: keep-alive, X-User\r\n", "kept alive": "Keep-Alive: x-user\r\nx-user: root\r\n",
		"trailer": "Transfer-Encoding: chunked\r\nTrailer: x-user\r\n\r\n0\r\nx-user: root\r\n", "te": "TE: trailers\r\nx-user: root\r\n",
		"internal": "x-gatehouse-extproc: v=1\r\nx-gatehouse-recompute: 1\r\nx-ext-auth-user: root\r\nx-user: root\r\n",
	} {
		for _, path := range []string{"/checked", "/streamed", "/dry", "/claims"} {
			exchangeRaw(t, port, "POST "+path+" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"+password+lines+"\r\n")
			for _, seen := range backend.Requests() {
				if fault := forged(seen, path); fault != "" {
					t.Fatalf("%s: %s %s", path, name, fault)
				}
			}
		}
	}
	carol, dave := issuer.Token(t, map[string]any{"sub": "carol"}), issuer.Token(t, map[string]any{"sub": "dave"})
	head := []string{":method=GET", ":scheme=http", ":authority=h"}
	for name, c := range map[string]struct {
		fields []string
		want   string
	}{
		"one":                      {[]string{":path=/claims", "cookie=session=" + carol}, "200"},
		"crumbs":                   {[]string{":path=/claims", "cookie=a=b", "cookie=session=" + carol}, "200"},
		"crumbs of two":            {[]string{":path=/claims", "cookie=session=" + carol, "cookie=session=" + dave}, "401"},
		"one of them bad":          {[]string{":path=/claims", "cookie=session=" + carol, "cookie=session=x"}, "401"},
		"two callers":              {[]string{":path=/claims?session=" + dave, "cookie=session=" + carol}, "401"},
		"escaped":                  {[]string{":path=/claims?%73ession=" + dave, "cookie=session=" + carol}, "401"},
		"none, but a header":       {[]string{":path=/claims", "x-user=root", "x-user=root"}, "200"},
		"none, but an odd header":  {[]string{":path=/claims", "x-User=root"}, ""},
		"none, but an underscored": {[]string{":path=/claims", "x_user=root"}, ""},
	} {
		if status := exchangeHTTP2(t, port, slices.Concat(head, c.fields)); status != c.want {
			t.Errorf("%s: status %q, want %q", name, status, c.want)
		}
	}
	for _, seen := range backend.Requests() {
		if fault := forged(seen, "/claims"); fault != "" {
			t.Error(fault)
		}
	}
}

// forged says what in a request that reached the backend could be taken for another caller.
func forged(seen gatewaytest.Seen, path string) string {
	for name, values := range seen.Header {
		folded := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		if folded == "x-user" && (name != "X-User" || len(values) != 1 || values[0] == "root") {
			return fmt.Sprintf("%s: %s: %q", path, name, values)
		}
	}
	return ""
}
