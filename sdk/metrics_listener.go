package sdk

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsServer is the HTTP server of [WithMetricsListener].
type metricsServer struct {
	listener net.Listener
	server   *http.Server
}

// instruments makes what the options ask for; all is nil where they ask for nothing.
func (s *settings) instruments(ctx context.Context, p any) (*metrics, *metricsServer, error) {
	if s.registry == nil && s.metricsAt == "" {
		return nil, nil, nil
	}
	if s.registry == nil {
		own := prometheus.NewRegistry()
		own.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		s.registry = own
	}
	m, err := newMetrics(s.registry, p)
	if err != nil {
		return nil, nil, fmt.Errorf("metrics: %w", err)
	}
	if s.metricsAt == "" {
		return m, nil, nil
	}
	gatherer, ok := s.registry.(prometheus.Gatherer)
	if !ok {
		return nil, nil, errors.New("metrics: the Registerer of WithMetrics is no Gatherer, which WithMetricsListener needs")
	}
	page, err := listenMetrics(ctx, s.metricsAt, gatherer)
	return m, page, err
}

func listenMetrics(ctx context.Context, addr string, g prometheus.Gatherer) (*metricsServer, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return &metricsServer{listener, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}, nil
}

// run serves until the returned function is called. A nil server does nothing.
func (m *metricsServer) run(s *settings) (stop func()) {
	if m == nil {
		return func() {}
	}
	addr := m.listener.Addr().String()
	if s.metricsOn != nil {
		s.metricsOn(addr)
	}
	s.log.Info("serving metrics", "address", addr)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.server.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("metrics are no longer served", "error", err)
		}
	}()
	return func() {
		_ = m.server.Close()
		<-done
	}
}

// close is for a server that was never run.
func (m *metricsServer) close() {
	if m != nil {
		_ = m.listener.Close()
	}
}
