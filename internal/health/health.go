// Package health is the gRPC health service of every server here, grpc.health.v1.Health.
package health

import (
	"context"
	"maps"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// Server is the gRPC health service. Unlike grpc's own it ends its watchers when the server drains: they
// would keep a graceful stop until its limit. It is safe for concurrent use.
type Server struct {
	healthv1.UnimplementedHealthServer

	mu       sync.Mutex
	serving  map[string]healthv1.HealthCheckResponse_ServingStatus
	draining bool
	changed  chan struct{} // closed, and replaced, at each change
}

// New returns a Server that says NOT_SERVING for each of the names; "" is the server as a whole.
func New(names ...string) *Server {
	h := &Server{serving: map[string]healthv1.HealthCheckResponse_ServingStatus{}, changed: make(chan struct{})}
	for _, name := range names {
		h.serving[name] = healthv1.HealthCheckResponse_NOT_SERVING
	}
	return h
}

// set gives every service one status; nothing follows draining.
func (h *Server) set(s healthv1.HealthCheckResponse_ServingStatus, draining bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return
	}
	for name := range h.serving {
		h.serving[name] = s
	}
	h.draining = draining
	close(h.changed)
	h.changed = make(chan struct{})
}

// Serve says SERVING from now on, unless the server drains.
func (h *Server) Serve() { h.set(healthv1.HealthCheckResponse_SERVING, false) }

// Drain says NOT_SERVING for good, and ends the watchers once they know.
func (h *Server) Drain() { h.set(healthv1.HealthCheckResponse_NOT_SERVING, true) }

// Check implements [healthv1.HealthServer].
func (h *Server) Check(_ context.Context, r *healthv1.HealthCheckRequest) (*healthv1.HealthCheckResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, ok := h.serving[r.GetService()]
	if !ok {
		return nil, status.Error(codes.NotFound, "unknown service")
	}
	return &healthv1.HealthCheckResponse{Status: s}, nil
}

// List implements [healthv1.HealthServer].
func (h *Server) List(context.Context, *healthv1.HealthListRequest) (*healthv1.HealthListResponse, error) {
	h.mu.Lock()
	serving := maps.Clone(h.serving)
	h.mu.Unlock()
	all := make(map[string]*healthv1.HealthCheckResponse, len(serving))
	for name, s := range serving {
		all[name] = &healthv1.HealthCheckResponse{Status: s}
	}
	return &healthv1.HealthListResponse{Statuses: all}, nil
}

// Watch implements [healthv1.HealthServer].
func (h *Server) Watch(r *healthv1.HealthCheckRequest, w grpc.ServerStreamingServer[healthv1.HealthCheckResponse]) error {
	last := healthv1.HealthCheckResponse_UNKNOWN
	for {
		h.mu.Lock()
		now, ok := h.serving[r.GetService()]
		draining, changed := h.draining, h.changed
		h.mu.Unlock()
		if !ok {
			now = healthv1.HealthCheckResponse_SERVICE_UNKNOWN
		}
		if now != last {
			if err := w.Send(&healthv1.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		if draining {
			return status.Error(codes.Unavailable, "the server is stopping")
		}
		select {
		case <-changed:
		case <-w.Context().Done():
			return status.FromContextError(w.Context().Err()).Err()
		}
	}
}
