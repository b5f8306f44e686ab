package gatewaytest

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
)

// Backend is an HTTP server that answers with what it received, and keeps it.
type Backend struct {
	Port   int
	server *httptest.Server
	mu     sync.Mutex
	seen   []Seen
}

// Seen is a request as the backend received it.
type Seen struct {
	Backend string
	Method  string
	Host    string
	Path    string // with query
	Header  http.Header
	Body    string
}

// NewBackend starts a backend that signs its answers with name.
func NewBackend(t testing.TB, name string) *Backend {
	t.Helper()
	b := &Backend{}
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen := Seen{Backend: name, Method: r.Method, Host: r.Host, Path: r.RequestURI, Header: r.Header, Body: string(body)}
		b.mu.Lock()
		b.seen = append(b.seen, seen)
		b.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if status, err := strconv.Atoi(r.Header.Get("x-want-status")); err == nil {
			w.WriteHeader(status)
		}
		_ = json.NewEncoder(w).Encode(seen)
	}))
	t.Cleanup(b.server.Close)
	b.Port = b.server.Listener.Addr().(*net.TCPAddr).Port
	return b
}

// Close ends the backend before the test does.
func (b *Backend) Close() { b.server.Close() }

// Requests returns what has arrived so far.
func (b *Backend) Requests() []Seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Seen(nil), b.seen...)
}
