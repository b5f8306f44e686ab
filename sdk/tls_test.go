package sdk_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/sdk"
)

// authority signs certificates for tests.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string
}

func newAuthority(t *testing.T, file string) *authority {
	t.Helper()
	a := &authority{file: file}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: filepath.Base(file)}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, file, "CERTIFICATE", der)
	return a
}

// issue writes a certificate of the authority for 127.0.0.1 with its key.
func (a *authority) issue(t *testing.T, serial int64, cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "PRIVATE KEY", pkcs8)
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// serial makes a handshake and returns the serial number of the server's certificate. In TLS 1.3 a client
// learns only from a read that it was refused.
func serial(addr string, config *tls.Config) (int64, error) {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil { // the server's HTTP/2 settings
		return 0, err
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func TestChangedCertificatesAreInForceWithoutARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ca := newAuthority(t, path("ca"))
	ca.issue(t, 10, path("cert"), path("key"))
	ca.issue(t, 11, path("client"), path("client-key"))
	var logged buffer
	addr, _, _ := serving(t, "127.0.0.1:0", hello, sdk.WithLogger(slog.New(slog.NewTextHandler(&logged, nil))),
		sdk.WithTLS(sdk.TLS{Cert: path("cert"), Key: path("key"), ClientCA: path("ca")}))
	config := func(cert, key string) *tls.Config {
		roots := x509.NewCertPool()
		roots.AddCert(ca.cert)
		c := &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		if pair, err := tls.LoadX509KeyPair(cert, key); err == nil {
			c.Certificates = []tls.Certificate{pair}
		}
		return c
	}
	known := config(path("client"), path("client-key"))
	want := func(what string, serialNumber int64) {
		t.Helper()
		if got, err := serial(addr, known); err != nil || got != serialNumber {
			t.Errorf("%s: certificate %d, want %d, %v", what, got, serialNumber, err)
		}
	}
	want("at first", 10)
	if _, err := serial(addr, config("", "")); err == nil {
		t.Error("a client without a certificate was served")
	}
	if _, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was served")
	}
	ca.issue(t, 12, path("cert"), path("key"))
	want("after a change", 12)
	if err := os.WriteFile(path("key"), []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("with a broken key", 12)
	want("with a broken key", 12)
	if n := strings.Count(logged.String(), "stay in force"); n != 1 {
		t.Errorf("%d log lines about the broken key", n)
	}
	if strings.Contains(logged.String(), "half a fi") {
		t.Error("the log quotes a key file")
	}
	if err := os.Remove(path("key")); err != nil {
		t.Fatal(err)
	}
	want("without a key", 12)
	ca.issue(t, 13, path("cert"), path("key"))
	want("after the repair", 13)
	// Another authority for clients: those of the first are out, although they have a session.
	newAuthority(t, path("ca"))
	if _, err := serial(addr, known); err == nil {
		t.Error("a client of the former authority was served")
	}
}

func TestUnusableTLSIsAnErrorAtTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, ca := filepath.Join(dir, "cert"), filepath.Join(dir, "key"), filepath.Join(dir, "ca")
	newAuthority(t, ca).issue(t, 1, cert, key)
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]sdk.TLS{
		"nothing":        {},
		"no key":         {Cert: cert},
		"only a CA":      {ClientCA: ca},
		"no such file":   {Cert: cert, Key: key + "s"},
		"a foreign key":  {Cert: ca, Key: key},
		"an empty CA":    {Cert: cert, Key: key, ClientCA: empty},
		"no such CA":     {Cert: cert, Key: key, ClientCA: ca + "s"},
		"key is a cert":  {Cert: cert, Key: cert},
		"cert is no PEM": {Cert: empty, Key: key},
	} {
		if err := sdk.Serve(t.Context(), "127.0.0.1:0", hello, quiet, sdk.WithTLS(files)); err == nil || !strings.Contains(err.Error(), "TLS") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMutualTLSThroughEnvoy: Envoy with a certificate of the authority is served, as far as its own
// defaults of TLS go.
func TestMutualTLSThroughEnvoy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	ca := newAuthority(t, path("ca"))
	ca.issue(t, 10, path("cert"), path("key"))
	ca.issue(t, 11, path("client"), path("client-key"))
	addr, _, _ := serving(t, "127.0.0.1:0", unlocked{hello},
		sdk.WithTLS(sdk.TLS{Cert: path("cert"), Key: path("key"), ClientCA: path("ca")}))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("X-Hello"))
	}))
	t.Cleanup(upstream.Close)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	client := fmt.Sprintf(`
        common_tls_context:
          tls_certificates: [{certificate_chain: {filename: %q}, private_key: {filename: %q}}]
          validation_context: {trusted_ca: {filename: %q}}`, path("client"), path("client-key"), path("ca"))
	stranger := strings.Replace(client, "tls_certificates", "# ", 1)
	// 500 is ext_proc's, whose failed stream takes the place of ext_authz's 503.
	for tlsContext, want := range map[string]string{client: "200 world", stranger: "500 "} {
		config := strings.Replace(bootstrap, "pipe: {path: %[3]q}", "socket_address: {address: 127.0.0.1, port_value: %[3]s}", 1) + `
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext` + tlsContext
		listen := envoytest.FreePort(t)
		envoytest.Start(t, fmt.Sprintf(config, listen, upstream.Listener.Addr().(*net.TCPAddr).Port, port))
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", listen))
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if got := fmt.Sprintf("%d %s", answer.StatusCode, answer.Header.Get("X-Seen")); got != want {
			t.Errorf("%s: %s, want %s", tlsContext, got, want)
		}
	}
}
