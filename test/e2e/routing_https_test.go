package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// httpsManifest is a Gateway "gw" with HTTPS listeners of one port: "name=hostname=secrets".
func httpsManifest(port int, listeners ...string) string {
	lines := []string{`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: gatehouse
  addresses: [{type: IPAddress, value: 127.0.0.1}]
  listeners:`}
	for _, l := range listeners {
		parts := strings.Split(l, "=")
		hostname := ""
		if parts[1] != "" {
			hostname = fmt.Sprintf(", hostname: %q", parts[1])
		}
		lines = append(lines, fmt.Sprintf("  - {name: %s, port: %d, protocol: HTTPS%s, tls: {certificateRefs: [%s]}}", parts[0], port, hostname, parts[2]))
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestHostAndSNI(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	certificate := gatewaytest.NewCertificate(t, "*.example")
	section := func(name, listener, hosts string) string {
		return strings.Replace(route(name, hosts, "filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-route, value: "+name+"}]}}]\n"+to("b")),
			"[{name: gw}]", "[{name: gw, sectionName: "+listener+"}]", 1)
	}
	gatewaytest.Start(t, map[string]string{"tls.yaml": certificate.Secret("c"), "all.yaml": strings.Join([]string{
		httpsManifest(port, "a=a.example={name: c}", "wild=*.example={name: c}", "any=={name: c}", "broken=broken.example={name: missing}"),
		backendManifest("b", backend.Port),
		section("a", "a", ""), section("wild", "wild", "x.example, a.example, broken.example"), section("any", "any", ""),
	}, "\n---\n")})
	for _, test := range []struct {
		sni, host string
		status    int
		route     string
	}{
		{"a.example", "a.example", 200, "a"},
		{"a.example", "x.example", 421, ""},
		{"a.example", "other.test", 421, ""},
		{"x.example", "x.example", 200, "wild"},
		{"y.example", "x.example", 200, "wild"},
		{"x.example", "y.example", 404, ""},
		{"x.example", "a.example", 421, ""},
		{"x.example", "broken.example", 421, ""},
		{"", "other.test", 200, "any"},
		{"other.test", "127.0.0.1", 200, "any"},
		{"", "a.example", 421, ""},
		{"other.test", "x.example", 421, ""},
	} {
		for _, protocol := range []string{"h2", "http/1.1"} {
			response, err := overTLS(port, test.sni, test.host, protocol)
			if err != nil {
				t.Fatalf("%+v %s: %v", test, protocol, err)
			}
			if got := response.Header.Get("x-route"); response.StatusCode != test.status || got != test.route {
				t.Errorf("SNI %q, Host %q over %s: %d by %q, want %d by %q", test.sni, test.host, protocol, response.StatusCode, got, test.status, test.route)
			}
		}
	}
}

// overTLS sends a GET and takes any certificate: which one it is, getTLS and its tests check.
func overTLS(port int, sni, host, protocol string) (*http.Response, error) {
	config := &tls.Config{ServerName: sni, InsecureSkipVerify: true, NextProtos: []string{protocol}}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: protocol == "h2", TLSClientConfig: config,
	}}
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/", port), nil)
	if err != nil {
		return nil, err
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	return response, response.Body.Close()
}

// The narrowest listener of a port takes a request, whether or not a route of it matches.
func TestListenerIsolation(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	listeners := map[string]string{"any": "", "wild": "*.example.com", "foo": "*.foo.example.com", "abc": "abc.foo.example.com"}
	manifests := []string{backendManifest("b", backend.Port), listenersManifest("gw", port, "any=", "wild=*.example.com", "foo=*.foo.example.com", "abc=abc.foo.example.com")}
	for name := range listeners {
		// The second kind of route names hosts that other listeners take, too.
		for i, hosts := range []string{"", "bar.test, \"*.example.com\", \"*.foo.example.com\", abc.foo.example.com"} {
			r := route(fmt.Sprintf("%s-%d", name, i), hosts, fmt.Sprintf("matches: [{path: {value: /%s-%d}}]\n", name, i)+to("b"))
			manifests = append(manifests, strings.Replace(r, "[{name: gw}]", "[{name: gw, sectionName: "+name+"}]", 1))
		}
	}
	gatewaytest.Start(t, all(manifests...))
	for host, listener := range map[string]string{
		"bar.test": "any", "other.test": "any", "bar.example.com": "wild", "bar.foo.example.com": "foo", "foo.example.com": "wild", "abc.foo.example.com": "abc",
	} {
		for name := range listeners {
			for i := range 2 {
				want := http.StatusNotFound
				// Within a listener a route that names the host hides those that name none.
				hidden := host == "bar.test" && i == 0 || host == "other.test" && i == 1
				if name == listener && !hidden {
					want = http.StatusOK
				}
				if a := gatewaytest.Get(t, at(port, fmt.Sprintf("/%s-%d", name, i)), "Host: "+host); a.Status != want {
					t.Errorf("%s/%s-%d: %d, want %d", host, name, i, a.Status, want)
				}
			}
		}
	}
}

func TestCertificatesOfBothKinds(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	ellipticCert, rsaCert := gatewaytest.NewCertificate(t, "a.example"), rsaCertificate(t, "a.example")
	g := gatewaytest.Start(t, map[string]string{
		"ecdsa.yaml": ellipticCert.Secret("ecdsa"), "rsa.yaml": rsaCert.Secret("rsa"),
		"all.yaml": strings.Join([]string{
			httpsManifest(port, "a=a.example={name: ecdsa}, {name: rsa}, {name: rsa}"), backendManifest("b", backend.Port), route("r", "", "sessionPersistence: {}\n"+to("b")),
		}, "\n---\n"),
	})
	if status, err := getTLS(port, "a.example", ellipticCert); err != nil || status != http.StatusOK {
		t.Errorf("a client that takes both: %d %v, want the elliptic certificate", status, err)
	}
	if response, err := overTLS(port, "a.example", "a.example", "h2"); err != nil || !strings.Contains(response.Header.Get("Set-Cookie"), "; Secure") {
		t.Errorf("a session's cookie over HTTPS: %v %v, want one that stays there", response, err)
	}
	// Go's client can't be told to take RSA alone in a way that Envoy notices, so ask Envoy what it holds.
	for _, name := range []string{"ecdsa", "rsa"} {
		expiry := fmt.Sprintf("listener.127.0.0.1_%d.ssl.certificate.secret/default/%s.expiration_unix_time_seconds", port, name)
		if g.Stat(t, expiry) == 0 {
			t.Errorf("Envoy doesn't hold the certificate %s", name)
		}
	}
	if n := g.Stat(t, "listener_manager.lds.update_rejected"); n != 0 {
		t.Errorf("Envoy refused %d listeners", n)
	}
}

// rsaCertificate is like gatewaytest.NewCertificate, with an RSA key.
func rsaCertificate(t *testing.T, name string) *gatewaytest.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	chain, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &gatewaytest.Certificate{
		Chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain}),
		Key:   pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}
}
