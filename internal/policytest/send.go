package policytest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/routing"
)

// answer is what a client gets.
type answer struct {
	status int // 0: the stream was reset
	header http.Header
	// grpcStatus is that of the header or of the trailers, "" without one.
	grpcStatus string
}

// send writes a request byte for byte: a library would change paths and headers that are the point of a
// case.
func send(ctx context.Context, r *routing.Request, port int, body []byte, http2 bool) (*answer, error) {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	family, own := "TCP4", "127.0.0.1"
	if r.Peer.Is6() && !r.Peer.Is4In6() {
		family, own = "TCP6", "::1"
	}
	if _, err := fmt.Fprintf(conn, "PROXY %s %s %s 40000 %d\r\n", family, r.Peer.Unmap(), own, r.Port); err != nil {
		return nil, err
	}
	if r.TLS {
		protocol := map[bool]string{true: "h2", false: "http/1.1"}[http2]
		// The certificate is checked by clients, not by policies.
		secure := tls.Client(conn, &tls.Config{ServerName: r.ServerName, InsecureSkipVerify: true, NextProtos: []string{protocol}}) //nolint:gosec // see above
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		if http2 && secure.ConnectionState().NegotiatedProtocol != protocol {
			return nil, errors.New("the listener takes no HTTP/2 over TLS")
		}
		conn = secure
	}
	if http2 {
		return sendHTTP2(conn, r, body)
	}
	return sendHTTP1(conn, r, body)
}

func sendHTTP1(conn net.Conn, r *routing.Request, body []byte) (*answer, error) {
	var head strings.Builder
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, r.Authority)
	for _, f := range r.Header {
		fmt.Fprintf(&head, "%s: %s\r\n", f.Name, f.Value)
	}
	if _, err := io.WriteString(conn, head.String()+"\r\n"+string(body)); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: r.Method})
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return nil, err
	}
	out := &answer{status: response.StatusCode, header: response.Header, grpcStatus: response.Header.Get("Grpc-Status")}
	if out.grpcStatus == "" {
		out.grpcStatus = response.Trailer.Get("Grpc-Status")
	}
	return out, nil
}
