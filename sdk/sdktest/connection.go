package sdktest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// Connection is the client's connection, as attributes tell of it.
type Connection struct {
	// Source is the client's address, Destination the one that it has connected to.
	Source, Destination netip.AddrPort
	// TLS has it encrypted, for ServerName, and with a client certificate if Mutual is set. The certificates are
	// those of [Certificates].
	TLS, Mutual bool
	ServerName  string
}

// What the certificates of a [Connection] say.
const (
	// ServerDNS is the server's name, ClientDNS and ClientURI the client's.
	ServerDNS = "test.example"
	ClientDNS = "client.test.example"
	ClientURI = "spiffe://test.example/client"
	// ServerSubject and ClientSubject are the subjects as RFC 2253 writes them.
	ServerSubject = "CN=server,O=sdktest"
	ClientSubject = "CN=client,O=sdktest"
)

// Certificates are a connection's certificates: made when they are first used, and the same for all exchanges
// of a process.
type Certificates struct {
	// Authority has signed both others, in PEM.
	Authority []byte
	// ServerChain and ServerKey are the server's, in PEM.
	ServerChain, ServerKey []byte
	// Client is the client's.
	Client tls.Certificate
}

var certificates = sync.OnceValues(newCertificates)

func newCertificates() (*Certificates, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	sign := func(serial int64, name string, change func(*x509.Certificate), parent *x509.Certificate) ([]byte, error) {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{Organization: []string{"sdktest"}, CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		change(c)
		if parent == nil {
			parent = c
		}
		return x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
	}
	authority, err := sign(1, "authority", func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}, nil)
	if err != nil {
		return nil, err
	}
	parent, err := x509.ParseCertificate(authority)
	if err != nil {
		return nil, err
	}
	server, err := sign(2, "server", func(c *x509.Certificate) { c.DNSNames = []string{ServerDNS} }, parent)
	if err != nil {
		return nil, err
	}
	client, err := sign(3, "client", func(c *x509.Certificate) {
		c.DNSNames = []string{ClientDNS}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "test.example", Path: "/client"}}
	}, parent)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := func(kind string, p []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: p}) }
	return &Certificates{
		Authority: text("CERTIFICATE", authority), ServerChain: text("CERTIFICATE", server), ServerKey: text("EC PRIVATE KEY", secret),
		Client: tls.Certificate{Certificate: [][]byte{client}, PrivateKey: key},
	}, nil
}

// dress makes c the connection that o describes: it says who it is by the PROXY protocol, and shakes hands.
func (o *Connection) dress(ctx context.Context, c net.Conn, protocol string) (net.Conn, error) {
	if o == nil {
		return c, nil
	}
	if o.Source.IsValid() {
		family := "TCP4"
		if o.Source.Addr().Is6() {
			family = "TCP6"
		}
		if _, err := fmt.Fprintf(c, "PROXY %s %s %s %d %d\r\n", family, o.Source.Addr(), o.Destination.Addr(), o.Source.Port(), o.Destination.Port()); err != nil {
			return nil, err
		}
	}
	if !o.TLS {
		return c, nil
	}
	all, err := certificates()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(all.Authority)
	config := &tls.Config{
		ServerName: o.ServerName, RootCAs: roots, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS13,
	}
	if o.Mutual {
		config.Certificates = []tls.Certificate{all.Client}
	}
	out := tls.Client(c, config)
	return out, out.HandshakeContext(ctx)
}

// listener puts what the connection needs of Envoy into a listener's configuration and its filter chain's.
func (o *Connection) listener(listener, chain object) error {
	if o == nil {
		return nil
	}
	filters := []any{}
	if o.Source.IsValid() {
		filters = append(filters, object{"name": "proxy_protocol", "typed_config": object{
			"@type": typePrefix + "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
		}})
	}
	if !o.TLS {
		listener["listener_filters"] = filters
		return nil
	}
	listener["listener_filters"] = append(filters, object{"name": "tls_inspector", "typed_config": object{
		"@type": typePrefix + "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
	}})
	all, err := certificates()
	if err != nil {
		return err
	}
	inline := func(p []byte) object { return object{"inline_string": string(p)} }
	validation := object{"trusted_ca": inline(all.Authority)}
	chain["transport_socket"] = object{"name": "tls", "typed_config": object{
		"@type":                      typePrefix + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
		"require_client_certificate": o.Mutual,
		"common_tls_context": object{
			"alpn_protocols":     []any{"h2", "http/1.1"},
			"tls_certificates":   []any{object{"certificate_chain": inline(all.ServerChain), "private_key": inline(all.ServerKey)}},
			"validation_context": validation,
		},
	}}
	return nil
}

// digest is the client certificate's SHA-256.
func (c *Certificates) digest() string {
	sum := sha256.Sum256(c.Client.Certificate[0])
	return hex.EncodeToString(sum[:])
}

// facts are the attributes that follow from the connection.
func (o *Connection) facts() (map[string]any, error) {
	out := map[string]any{
		"connection.id": 0, "connection.mtls": false, "connection.requested_server_name": "",
		"source.address": "", "destination.address": "",
	}
	if o == nil {
		return out, nil
	}
	if o.Source.IsValid() {
		out["source.address"], out["source.port"] = o.Source.String(), int(o.Source.Port())
		out["destination.address"], out["destination.port"] = o.Destination.String(), int(o.Destination.Port())
	}
	if !o.TLS {
		return out, nil
	}
	out["connection.requested_server_name"], out["connection.tls_version"] = o.ServerName, "TLSv1.3"
	out["connection.subject_local_certificate"], out["connection.dns_san_local_certificate"] = ServerSubject, ServerDNS
	out["connection.subject_peer_certificate"] = ""
	if !o.Mutual {
		return out, nil
	}
	all, err := certificates()
	if err != nil {
		return nil, err
	}
	out["connection.mtls"] = true
	out["connection.subject_peer_certificate"], out["connection.dns_san_peer_certificate"] = ClientSubject, ClientDNS
	out["connection.uri_san_peer_certificate"], out["connection.sha256_peer_certificate_digest"] = ClientURI, all.digest()
	return out, nil
}
