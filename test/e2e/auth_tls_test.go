package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// TestAuthOverTLS: the printed configuration verifies the server, by the name that its certificate is for.
func TestAuthOverTLS(t *testing.T) {
	t.Parallel()
	backend, state, listen := gatewaytest.NewBackend(t, "b"), t.TempDir(), "127.0.0.1:"+itoa(freePort(t))
	certificate, other := gatewaytest.NewCertificate(t, "auth.example"), gatewaytest.NewCertificate(t, "auth.example")
	trusted, distrusted := writeFile(t, string(certificate.Chain)), writeFile(t, string(other.Chain))
	args := []string{
		"-f", writeFile(t, usersManifest+"\n---\n"+policyManifest("named", basicSpec)), "--state", state, "--listen", listen,
		"--tls-cert", trusted, "--tls-key", writeFile(t, string(certificate.Key)),
	}
	printing := exec.Command(gatewaytest.Binary(t), append([]string{"auth", "--print-envoy-config"}, args...)...)
	printing.Env = append(os.Environ(), "SSL_CERT_FILE="+trusted)
	printed, err := printing.Output()
	if err != nil || !strings.Contains(string(printed), "sni: auth.example") {
		t.Fatalf("%v\n%s", err, printed)
	}
	startAuth(t, args...)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate.Chain)
	gatewaytest.Eventually(t, "health", func() error { return healthOver(t, listen, &tls.Config{RootCAs: roots, ServerName: "auth.example"}) })
	for file, want := range map[string]int{trusted: 200, distrusted: 503} {
		port := freePort(t)
		envoytest.Start(t, pasted(t, strings.ReplaceAll(string(printed), trusted, file), port, backend.Port, [2]string{"/", "named default/named"}))
		if a := gatewaytest.Get(t, at(port, "/"), basicAlice); a.Status != want {
			t.Errorf("%d, want %d", a.Status, want)
		}
	}
}

// TestAuthDemandsACertificate of every caller with --tls-client-ca.
func TestAuthDemandsACertificate(t *testing.T) {
	t.Parallel()
	listen := "127.0.0.1:" + itoa(freePort(t))
	server, client, other := gatewaytest.NewCertificate(t, "auth.example"), gatewaytest.NewCertificate(t, "envoy.example"), gatewaytest.NewCertificate(t, "envoy.example")
	args := []string{
		"-f", writeFile(t, usersManifest), "--state", t.TempDir(), "--listen", listen, "--tls-cert", writeFile(t, string(server.Chain)),
		"--tls-key", writeFile(t, string(server.Key)), "--tls-client-ca", writeFile(t, string(client.Chain)),
	}
	startAuth(t, args...)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.Chain)
	config := &tls.Config{RootCAs: roots, ServerName: "auth.example"}
	with := func(c *gatewaytest.Certificate) *tls.Config {
		pair, err := tls.X509KeyPair(c.Chain, c.Key)
		if err != nil {
			t.Fatal(err)
		}
		out := config.Clone()
		out.Certificates = []tls.Certificate{pair}
		return out
	}
	gatewaytest.Eventually(t, "health", func() error { return healthOver(t, listen, with(client)) })
	if healthOver(t, listen, config) == nil || healthOver(t, listen, with(other)) == nil {
		t.Error("callers without a certificate of the authority are served")
	}
	if stdout, stderr, code := command(t, append([]string{"auth", "--print-envoy-config"}, args...)...); code != 0 || !strings.Contains(stdout, "tls_certificates:") {
		t.Errorf("exit %d, nothing says that Envoy needs one: %s", code, stderr)
	}
}

func healthOver(t *testing.T, address string, config *tls.Config) error {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	return err
}
