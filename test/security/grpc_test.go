package security_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/extauthz"
	"github.com/gatehouse-proxy/gatehouse/internal/agent"
	"github.com/gatehouse-proxy/gatehouse/internal/authserver"
	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/internal/health"
)

// grpcStatus sends one unary call by hand and returns the grpc-status, "" for none.
func grpcStatus(t *testing.T, conn net.Conn, path string) (httpStatus, status string) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "a"}, {"content-type", "application/grpc"}, {"te", "trailers"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	_ = framer.WriteData(1, true, make([]byte, 5))
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return "", ""
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			httpStatus += f.PseudoValue("status")
			for _, field := range f.RegularFields() {
				if field.Name == "grpc-status" {
					status = field.Value
				}
			}
			if f.StreamEnded() {
				return httpStatus, status
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "", ""
		}
	}
}

// TestS11MethodsAreMatchedExactly: a method that isn't spelt as the service has it reaches no handler, so that
// no rule about methods can be passed by.
func TestS11MethodsAreMatchedExactly(t *testing.T) {
	t.Parallel()
	calls := make(chan struct{}, 100)
	server := agent.NewAuthorizerServer()
	extauthz.NewServer(extauthz.Always(exchange.AuthorizerFunc(func(context.Context, *exchange.Request) (exchange.Verdict, error) {
		calls <- struct{}{}
		return exchange.Verdict{Allow: true}, nil
	}))).Register(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	const method = "/envoy.service.auth.v3.Authorization/Check"
	for _, path := range []string{
		method, strings.TrimPrefix(method, "/"), "/" + method, method + "/", strings.ToLower(method), strings.ReplaceAll(method, ".", "%2e"),
		"/envoy.service.auth.v3.Authorization//Check", "/x/.." + method, method + "?x", "/Authorization/Check", "*", "", "/", "Check",
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		httpStatus, status := grpcStatus(t, conn, path)
		_ = conn.Close()
		reached := len(calls) > 0
		for len(calls) > 0 {
			<-calls
		}
		if path == method {
			if httpStatus != "200" || status != "0" {
				t.Errorf("the method itself: %s %s", httpStatus, status)
			}
			continue
		}
		if reached || status == "0" {
			t.Errorf("%q: %s, grpc-status %s, reached %v", path, httpStatus, status, reached)
		}
	}
}

// TestS45OneDoorForAllMethods: mutual TLS guards streams as it guards single calls, and nothing else is
// served beside them.
func TestS45OneDoorForAllMethods(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), envoytest.FreePort(t)
	server, client, stranger := gatewaytest.NewCertificate(t, "gatehouse"), gatewaytest.NewCertificate(t, "envoy"), gatewaytest.NewCertificate(t, "envoy")
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	manifests := filepath.Join(dir, "manifests")
	if err := os.Mkdir(manifests, 0o700); err != nil {
		t.Fatal(err)
	}
	write("manifests/a.yaml", []byte("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p}\nspec: {cors: {allowOrigins: [\"https://a.example\"]}}\n"))
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ctx, cancel := context.WithCancel(context.Background()) //nolint:usetesting // it ends before the test's own does
	done := make(chan error, 1)
	go func() {
		done <- authserver.Run(ctx, authserver.Config{
			Paths: []string{manifests}, Listen: address, Logger: slog.New(slog.DiscardHandler),
			TLSCert: write("tls.crt", server.Chain), TLSKey: write("tls.key", server.Key), TLSClientCA: write("ca.crt", client.Chain),
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.Chain)
	for _, c := range []struct {
		name        string
		certificate *gatewaytest.Certificate
		admitted    bool
	}{
		{"the client", client, true}, // first: it waits for the server, so that nobody else is refused for want of one
		{"no certificate", nil, false},
		{"a stranger of the same name", stranger, false},
	} {
		config := &tls.Config{RootCAs: roots, ServerName: "gatehouse", MinVersion: tls.VersionTLS12}
		if c.certificate != nil {
			pair, err := tls.X509KeyPair(c.certificate.Chain, c.certificate.Key)
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		call, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, unary := authv3.NewAuthorizationClient(conn).Check(call, &authv3.CheckRequest{}, grpc.WaitForReady(c.admitted))
		watch, err := healthpb.NewHealthClient(conn).Watch(call, &healthpb.HealthCheckRequest{Service: "ext_authz"}, grpc.WaitForReady(c.admitted))
		stream := err
		if err == nil {
			_, stream = watch.Recv()
		}
		cancel()
		if (unary == nil) != c.admitted || (stream == nil) != c.admitted {
			t.Errorf("%s: single call: %v; stream: %v", c.name, unary, stream)
		}
	}
}

// TestS45NoReflection: what a server offers is what its documentation says.
func TestS45NoReflection(t *testing.T) {
	t.Parallel()
	services := agent.Authorizer{Choose: extauthz.Always(nil), Health: health.New(), Logger: slog.New(slog.DiscardHandler)}
	server := services.Server()
	var names []string
	for name := range server.GetServiceInfo() {
		names = append(names, name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{
		"envoy.service.auth.v3.Authorization", "envoy.service.ext_proc.v3.ExternalProcessor", "grpc.health.v1.Health",
	}) {
		t.Errorf("%v", names)
	}
}
