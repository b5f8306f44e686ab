package gatewaytest

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
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

// NewBackend starts a backend that signs its answers with name, on a free port of 127.0.0.1. A request says by
// x-want-echo (a request header to send back), x-want-delay (how long to wait), x-want-status and x-want-header
// ("Name: value", repeatable) what to answer with.
func NewBackend(t testing.TB, name string) *Backend {
	t.Helper()
	return NewBackendAt(t, name, "127.0.0.1:0")
}

// NewBackendAt is NewBackend at host:port.
func NewBackendAt(t testing.TB, name, address string) *Backend {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	b := &Backend{}
	b.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen := Seen{Backend: name, Method: r.Method, Host: r.Host, Path: r.RequestURI, Header: r.Header, Body: string(body)}
		b.mu.Lock()
		b.seen = append(b.seen, seen)
		b.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		for _, line := range r.Header.Values("x-want-header") {
			key, value, _ := strings.Cut(line, ": ")
			w.Header().Add(key, value)
		}
		if name := r.Header.Get("x-want-echo"); name != "" {
			w.Header().Set(name, r.Header.Get(name))
		}
		if delay, err := time.ParseDuration(r.Header.Get("x-want-delay")); err == nil {
			select {
			case <-time.After(delay):
			case <-r.Context().Done():
			}
		}
		if status, err := strconv.Atoi(r.Header.Get("x-want-status")); err == nil {
			w.WriteHeader(status)
		}
		_ = json.NewEncoder(w).Encode(seen)
	}))
	_ = b.server.Listener.Close()
	b.server.Listener = listener
	b.server.Start()
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
