// Package bundletest makes OPA bundles for tests, and serves them.
package bundletest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	opabundle "github.com/open-policy-agent/opa/v1/bundle"
)

// Archive packs files, by path, as they are.
func Archive(tb testing.TB, files map[string]string) []byte {
	tb.Helper()
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	archive := tar.NewWriter(packed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(files[name])), Typeflag: tar.TypeReg}); err != nil {
			tb.Fatal(err)
		}
		if _, err := archive.Write([]byte(files[name])); err != nil {
			tb.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// Signed packs files with a signature by key, a private key in PEM form or a secret, made by OPA itself.
func Signed(tb testing.TB, files map[string]string, key, algorithm string) []byte {
	tb.Helper()
	b, err := opabundle.NewReader(bytes.NewReader(Archive(tb, files))).Read()
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.GenerateSignature(opabundle.NewSigningConfig(key, algorithm, ""), "any", false); err != nil {
		tb.Fatal(err)
	}
	var out bytes.Buffer
	if err := opabundle.NewWriter(&out).DisableFormat(true).Write(b); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// Key returns a new RSA key pair in PEM form.
func Key(tb testing.TB) (private, public string) {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	private = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	return private, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Server serves one archive with an ETag over HTTPS, with a certificate of its own CA.
type Server struct {
	*httptest.Server

	// CA is the certificate in PEM form.
	CA string
	// Hits counts requests, Sent those that were answered with an archive.
	Hits, Sent atomic.Int64
	handler    atomic.Pointer[http.HandlerFunc]
}

// Serve starts a server on loopback.
func Serve(tb testing.TB, archive []byte) *Server {
	tb.Helper()
	s := &Server{}
	s.Publish(archive)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Hits.Add(1)
		(*s.handler.Load())(w, r)
	}))
	tb.Cleanup(s.Close)
	s.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return s
}

// Publish replaces the archive.
func (s *Server) Publish(archive []byte) {
	tag := `"` + rand.Text() + `"`
	s.Answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		s.Sent.Add(1)
		w.Header().Set("Etag", tag)
		_, _ = w.Write(archive)
	})
}

// Answer replaces the whole handler.
func (s *Server) Answer(h http.HandlerFunc) { s.handler.Store(&h) }

// Unpack returns the files of an archive by path.
func Unpack(tb testing.TB, packed []byte) map[string]string {
	tb.Helper()
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(unpacked); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			tb.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			tb.Fatal(err)
		}
		files[header.Name] = string(text)
	}
}
