package sdk

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

// TLS names the PEM files that a server identifies itself and its clients by. They are read again when
// they have changed, at the next handshake: connections that stand live on. Files that don't fit together
// or can't be read leave the earlier ones in force, with a log line.
type TLS struct {
	// Cert is the server's certificate with its chain, Key its private key.
	Cert, Key string
	// ClientCA has the certificates by one of which a client's must be signed. Without it every client is
	// served.
	ClientCA string
}

// keys holds what the files of a TLS said last. It is used concurrently.
type keys struct {
	files TLS
	log   *slog.Logger

	mu     sync.Mutex
	seen   []fs.FileInfo // of the files when config was made of them
	config *tls.Config
	fault  string // logged last
}

// loadTLS reads the files; here their faults are errors.
func loadTLS(files TLS, log *slog.Logger) (*tls.Config, error) {
	if files.Cert == "" || files.Key == "" {
		return nil, errors.New("TLS: both a certificate and its key are needed (Cert and Key, --tls-cert and --tls-key)")
	}
	k := &keys{files: files, log: log}
	var err error
	if k.seen, err = k.look(); err == nil {
		k.config, err = k.read()
	}
	if err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: k.config.NextProtos, SessionTicketsDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return k.current(), nil
		},
	}, nil
}

// current is the configuration for a handshake. Files are looked at and not watched: handshakes are rare,
// and a look can't miss how a volume of Kubernetes changes its files.
func (k *keys) current() *tls.Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, err := k.look()
	if err == nil && same(now, k.seen) {
		return k.config
	}
	var config *tls.Config
	if err == nil {
		config, err = k.read()
	}
	if err != nil {
		if k.fault != err.Error() {
			k.fault = err.Error()
			k.log.Error("changed TLS files can't be used, the earlier ones stay in force", "error", err)
		}
		return k.config
	}
	k.seen, k.config, k.fault = now, config, ""
	k.log.Info("TLS files have changed and are in force")
	return k.config
}

func (k *keys) look() ([]fs.FileInfo, error) {
	var seen []fs.FileInfo
	for _, path := range []string{k.files.Cert, k.files.Key, k.files.ClientCA} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		seen = append(seen, info)
	}
	return seen, nil
}

func same(a, b []fs.FileInfo) bool {
	for i := range a {
		if !os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size() {
			return false
		}
	}
	return true
}

func (k *keys) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(k.files.Cert, k.files.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", k.files.Cert, k.files.Key, err)
	}
	// 1.2, because that is the most that Envoy offers an upstream unless its tls_params say otherwise.
	// No tickets, because a resumed session would outlive the client CA that let it in.
	config := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"},
		SessionTicketsDisabled: true,
	}
	if k.files.ClientCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(k.files.ClientCA)
	if err != nil {
		return nil, err
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("client CA %s: %w", k.files.ClientCA, errors.New("the file has no certificate in PEM form"))
	}
	return config, nil
}
