package e2e

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// refuser is a user's ext_authz server that lets nobody pass.
type refuser struct {
	authv3.UnimplementedAuthorizationServer
}

func (refuser) Check(context.Context, *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return &authv3.CheckResponse{Status: &status.Status{Code: 7}}, nil
}

// TestS48NoClientCausesTheFaultThatOpens: where failOpen lets requests pass while a server can't be asked, no request
// is one that a server which works can't be asked about.
func TestS48NoClientCausesTheFaultThatOpens(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, refuser{})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	plain := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	const body = ", bodyToExtAuth: {maxRequestBytes: 65536}"
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port), backendManifest("plain", plain), grpcBackendManifest("grpc", listener.Addr().(*net.TCPAddr).Port),
		guardedBy("http", "failOpen: true, headersToExtAuth: [x-a, cookie, expect, te, upgrade, connection, content-length, transfer-encoding], http: {"+refTo("plain")+", path: /x}"),
		guardedBy("httpbody", "failOpen: true, headersToExtAuth: [x-a, content-length, transfer-encoding, expect], http: {"+refTo("plain")+"}"+body),
		guardedBy("httpretry", "failOpen: true, http: {"+refTo("plain")+", backendSettings: {retry: {numRetries: 2, retryOn: {triggers: [gateway-error, reset, connect-failure]}}}}"),
		guardedBy("grpc", "failOpen: true, grpc: {"+refTo("grpc")+"}"), guardedBy("grpcbody", "failOpen: true, grpc: {"+refTo("grpc")+"}"+body),
		guardedBy("grpclarge", "failOpen: true, grpc: {"+refTo("grpc")+"}, bodyToExtAuth: {maxRequestBytes: 4063232}"),
		guardedBy("grpcretry", "failOpen: true, grpc: {"+refTo("grpc")+", backendSettings: {retry: {numRetries: 2}}}")))

	const end = "Connection: close\r\n\r\n"
	requests := map[string]string{
		"plain": "GET PATH HTTP/1.1\r\nHost: h\r\n" + end, "upgrade": "GET PATH HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"trailers":      "POST PATH HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTrailer: x-a\r\nTransfer-Encoding: chunked\r\n" + end + "1\r\na\r\n0\r\nx-a: \xff\r\n\r\n",
		"body of bytes": "POST PATH HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n" + end + "\xff\xfe\x00\x80", "expectation": "POST PATH HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n" + end + "abcd",
		"the whole body": "POST PATH HTTP/1.1\r\nHost: h\r\nContent-Length: 65536\r\n" + end + strings.Repeat("\xff", 65536), "GET with a body": "GET PATH HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" + end + "abc",
		"too much": "POST PATH HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n" + end + strings.Repeat("a", 70000),
	}
	for name, method := range map[string]string{"head": "HEAD", "trace": "TRACE", "unknown": "FOO", "lower": "get", "options": "OPTIONS", "preface": "PRI", "purge": "PURGE"} {
		requests["method "+name] = method + " PATH HTTP/1.1\r\nHost: h\r\n" + end
	}
	for name, path := range map[string]string{"bytes": "/\xff\xfe", "escapes": "/%ff%fe%80", "half": "/%", "hash": "/#/x", "query": "?\xff=%00&a=" + strings.Repeat("x", 5000), "long": "/" + strings.Repeat("x", 40000), "question": "/??", "blank": "/%20%0d%0a", "colon": "/:80", "scheme": "/http://evil/"} {
		requests["path "+name] = "GET PATH" + path + " HTTP/1.1\r\nHost: h\r\n" + end
	}
	for name, line := range map[string]string{
		"bytes": "x-a: \xff\xfe\x80", "long": "x-a: " + strings.Repeat("x", 50000), "many": strings.Repeat("x-a: b\r\n", 90) + "x-a: b", "cookie": "Cookie: a=\xff; \x80", "control": "x-a: \t\x7f",
		"authorization": "Authorization: \xff\xff", "request id": "x-request-id: \xff", "trace": "traceparent: \xff\r\nbaggage: \xff", "timeout": "grpc-timeout: 1n\r\nx-envoy-upstream-rq-timeout-ms: 1", "grpc": "Content-Type: application/grpc\r\ngrpc-encoding: \xff", "agent": "User-Agent: \xff",
		"referer": "Referer: http://\xff", "forwarded": "X-Forwarded-For: \xff\r\nX-Forwarded-Proto: \xff", "length": "content-length: 0", "retries": "x-envoy-max-retries: 0\r\nx-envoy-retry-on: 5xx", "te": "TE: trailers, deflate;q=0.5",
	} {
		requests["header "+name] = "GET PATH HTTP/1.1\r\nHost: h\r\n" + line + "\r\n" + end
	}
	for name, host := range map[string]string{"bytes": "\xff\xfe", "long": strings.Repeat("h", 10000), "port": "h:99999", "none": ""} {
		requests["host "+name] = "GET PATH HTTP/1.1\r\nHost: " + host + "\r\n" + end
	}
	for name, request := range requests {
		for _, path := range []string{"/http", "/httpbody", "/httpretry", "/grpc", "/grpcbody", "/grpcretry"} {
			before := len(backend.Requests())
			code, _ := exchangeRaw(t, port, strings.Replace(request, "PATH", path, 1))
			if len(backend.Requests()) != before || name == "plain" && code != http.StatusForbidden { // a denial of gRPC is a 200
				t.Errorf("%s %s: %d", path, name, code)
			}
		}
	}
	// The largest that goes with failOpen and no warning, with as many header lines as Envoy takes.
	many := "POST /grpclarge HTTP/1.1\r\nHost: h\r\nContent-Length: 4063232\r\n" + strings.Repeat("x-a: "+strings.Repeat("b", 600)+"\r\n", 90) + end + strings.Repeat("\xff", 4063232)
	before := len(backend.Requests())
	if code, _ := exchangeRaw(t, port, many); code != http.StatusForbidden && code != http.StatusOK || len(backend.Requests()) != before {
		t.Errorf("the largest body: %d", code)
	}
	for name, fields := range map[string][]string{
		"bytes": {"x-a=\xff"}, "cookies": {"cookie=\xff", "cookie=\x80"}, "timeout": {"grpc-timeout=1n", "content-type=application/grpc", "te=trailers"}, "expectation": {"expect=100-continue"}, "many": strings.Split(strings.TrimSuffix(strings.Repeat("x-a=b|", 80), "|"), "|"),
	} {
		for _, path := range []string{"/http", "/httpbody", "/grpc", "/grpcbody"} {
			before := len(backend.Requests())
			code := exchangeHTTP2(t, port, append([]string{":method=POST", ":scheme=http", ":authority=h", ":path=" + path}, fields...))
			if len(backend.Requests()) != before {
				t.Errorf("%s %s by HTTP/2: %s", path, name, code)
			}
		}
	}
}
