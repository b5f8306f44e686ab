package telemetry

import (
	"log/slog"
	"sync"
	"time"
)

// reporter logs what OpenTelemetry reports. While a collector is gone that is the same every few seconds, so
// one line is followed by a pause.
type reporter struct {
	log   *slog.Logger
	pause time.Duration

	mu     sync.Mutex
	silent time.Time // until then
	unsaid int
}

// Handle implements [go.opentelemetry.io/otel.ErrorHandler].
func (r *reporter) Handle(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if now.Before(r.silent) {
		r.unsaid++
		return
	}
	r.log.Warn("spans are lost or incomplete", "error", err, "unsaid_before", r.unsaid)
	r.silent, r.unsaid = now.Add(r.pause), 0
}
