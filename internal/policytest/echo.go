package policytest

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// echo stands for every backend: it answers 200 and keeps the header of the last request, with its path and host.
type echo struct {
	port   int
	server *http.Server

	mu   sync.Mutex
	seen http.Header
}

func newEcho() (*echo, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address, _ := l.Addr().(*net.TCPAddr)
	e := &echo{port: address.Port}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	e.server = &http.Server{Handler: e, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = e.server.Serve(l) }()
	return e, nil
}

// ServeHTTP implements [http.Handler].
func (e *echo) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = r.Header.Clone()
	e.seen.Set(":path", r.RequestURI)
	e.seen.Set(":authority", r.Host)
}

func (e *echo) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seen = nil
}

func (e *echo) last() http.Header {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen
}

func (e *echo) close() { _ = e.server.Close() }
