package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// exchangeRaw sends bytes and returns the answer's status, 0 for a closed connection.
func exchangeRaw(t *testing.T, port int, text string) (int, string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		return 0, ""
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = answer.Body.Close() }()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}

// attackedGateway has /admin and admin.example behind a password, and everything else open.
func attackedGateway(t *testing.T) (g *gatewaytest.Gateway, secret *gatewaytest.Backend, port int) {
	open, secret, port := gatewaytest.NewBackend(t, "open"), gatewaytest.NewBackend(t, "secret"), freePort(t)
	const cors = "\n  cors: {allowOrigins: [\"https://a.example\"]}"
	g = gatewaytest.Start(t, all(gatewayManifest(port), usersManifest, backendManifest("open", open.Port), backendManifest("secret", secret.Port),
		route("open", "", to("open")), route("admin", "", "matches: [{path: {value: /admin}}]\n"+to("secret")), policyManifest("admin", basicSpec+cors),
		route("host", "admin.example", to("secret")), policyManifest("host", basicSpec)))
	return g, secret, port
}

// TestAttackByTheRequestLine: no spelling of a path, a host or a method leads past a policy.
func TestAttackByTheRequestLine(t *testing.T) {
	t.Parallel()
	g, secret, port := attackedGateway(t)
	requests := map[string]string{}
	for _, path := range []string{
		"/admin", "/%61dmin", "//admin", "/./admin", "/x/../admin", "/x/%2e%2e/admin", "/.%2e/admin", "/admin%2fx", "/%2fadmin", "/%5cadmin",
		"/\\admin", "/x\\..\\admin", "/x/..%2fadmin", "/admin%00", "/admin#x", "/x#/../admin", "*", "/..;/admin", "http://h/admin", "http://admin.example/x",
		"https://admin.example/x", "/admin?/../x",
	} {
		requests["path "+path] = "GET " + path + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	}
	for _, host := range []string{"admin.example", "ADMIN.example", "admin.example.", "admin.example:1", "admin.example.:1", "admin.example:x", " admin.example", "admin.example/", "admin.example\\"} {
		requests["host "+host] = "GET /x HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	}
	const (
		preflight = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n"
		password  = basicAlice + "\r\n"
	)
	for name, request := range map[string]string{
		"GET dressed as preflight":  "GET /admin HTTP/1.1\r\nHost: h\r\n" + preflight,
		"overridden method":         "GET /admin HTTP/1.1\r\nHost: h\r\nX-HTTP-Method-Override: OPTIONS\r\n" + preflight,
		"method in lower case":      "options /admin HTTP/1.1\r\nHost: h\r\n" + preflight,
		"OPTIONS without method":    "OPTIONS /admin HTTP/1.1\r\nHost: h\r\nOrigin: https://a.example\r\n",
		"preflight of two origins":  "OPTIONS /admin HTTP/1.1\r\nHost: h\r\nOrigin: https://b.example\r\n" + preflight,
		"preflight of no origin":    "OPTIONS /admin HTTP/1.1\r\nHost: h\r\nOrigin:\r\nAccess-Control-Request-Method: GET\r\n",
		"preflight without CORS":    "OPTIONS /x HTTP/1.1\r\nHost: admin.example\r\n" + preflight,
		"h2c upgrade":               "GET /admin HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
		"websocket":                 "GET /admin HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n",
		"CONNECT":                   "CONNECT admin.example:80 HTTP/1.1\r\nHost: admin.example:80\r\n",
		"CONNECT with a path":       "CONNECT /admin HTTP/1.1\r\nHost: admin.example:80\r\n",
		"HTTP/1.0":                  "GET /admin HTTP/1.0\r\n",
		"two lengths":               "POST /admin HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"two credentials":           "GET /admin HTTP/1.1\r\nHost: h\r\nAuthorization: Basic eDp4\r\n" + password,
		"credentials in Connection": "GET /admin HTTP/1.1\r\nHost: h\r\nConnection: authorization\r\n" + password,
		"password with NUL":         "GET /admin HTTP/1.1\r\nHost: h\r\nAuthorization: Basic YWxpY2U6cGFzc3dvcmQA\r\n",
		"underscores":               "GET /admin HTTP/1.1\r\nHost: h\r\nx_user: alice\r\n",
		"Envoy's own headers":       "GET /admin HTTP/1.1\r\nHost: h\r\nx-envoy-original-path: /forged\r\nx-envoy-internal: true\r\nx-gatehouse-recompute: 1\r\nx-gatehouse-client-ip: 10.0.0.1\r\n",
	} {
		requests[name] = request + "\r\n"
	}
	for name, request := range requests {
		if status, body := exchangeRaw(t, port, request); status >= 200 && status < 300 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if n := len(secret.Requests()); n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
	gatewaytest.Eventually(t, "access log", func() error {
		if !strings.Contains(g.Output(), "httproute/default/admin/rule/0") {
			return fmt.Errorf("no line of the route")
		}
		return nil
	})
	if strings.Contains(g.Output(), "forged") {
		t.Error("a client's x-envoy-original-path is in the log")
	}
}

// TestAttackByPseudoHeaders: nor does HTTP/2's spelling of a request.
func TestAttackByPseudoHeaders(t *testing.T) {
	t.Parallel()
	_, secret, port := attackedGateway(t)
	for name, fields := range map[string][]string{
		"method twice":          {":method=OPTIONS", ":method=GET", ":scheme=http", ":authority=h", ":path=/admin"},
		"path twice":            {":method=GET", ":scheme=http", ":authority=h", ":path=/x", ":path=/admin"},
		"authority twice":       {":method=GET", ":scheme=http", ":authority=h", ":authority=admin.example", ":path=/x"},
		"authority and host":    {":method=GET", ":scheme=http", ":authority=admin.example", ":path=/x", "host=h"},
		"host alone":            {":method=GET", ":scheme=http", ":path=/x", "host=admin.example"},
		"path without a slash":  {":method=GET", ":scheme=http", ":authority=h", ":path=admin"},
		"empty path":            {":method=GET", ":scheme=http", ":authority=admin.example", ":path="},
		"another scheme":        {":method=GET", ":scheme=https", ":authority=h", ":path=/admin"},
		"unknown pseudo-header": {":method=GET", ":scheme=http", ":authority=h", ":path=/admin", ":x=y"},
		"extended CONNECT":      {":method=CONNECT", ":protocol=websocket", ":scheme=http", ":authority=h", ":path=/admin"},
		"CONNECT":               {":method=CONNECT", ":authority=admin.example"},
		"upper case":            {":method=GET", ":scheme=http", ":authority=h", ":path=/admin", "Authorization=Basic YWxpY2U6cGFzc3dvcmQ="},
		"connection header":     {":method=GET", ":scheme=http", ":authority=h", ":path=/admin", "connection=authorization"},
		"line break in a path":  {":method=GET", ":scheme=http", ":authority=h", ":path=/admin\r\nx: y"},
	} {
		if status := exchangeHTTP2(t, port, fields); strings.HasPrefix(status, "2") {
			t.Errorf("%s: status %s, want a denial or none", name, status)
		}
	}
	if n := len(secret.Requests()); n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
}

// exchangeHTTP2 sends one request of exactly these fields, "name=value", and returns the status, "" for a
// reset stream or a closed connection.
func exchangeHTTP2(t *testing.T, port int, fields []string) (status string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		at := strings.Index(f[1:], "=") + 1
		_ = encoder.WriteField(hpack.HeaderField{Name: f[:at], Value: f[at+1:]})
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return ""
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}
