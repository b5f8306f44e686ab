package extproc

import (
	"log/slog"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/mask"
)

// WithSlowLog logs each exchange that the processor's own code has held for at least threshold in all, with
// what tells it from others: method, host, path, id, client, status. No header's value is among these, and no
// value of the query. Zero, the default, logs none.
func WithSlowLog(threshold time.Duration) Option {
	return option(func(s *Server) { s.slow = threshold })
}

// logSlow is called when the exchange is over.
func (s *stream) logSlow() {
	if s.server.slow <= 0 || s.outcome.Held < s.server.slow {
		return
	}
	attributes := []slog.Attr{
		slog.String("processor", s.server.name), slog.Duration("held", s.outcome.Held), slog.Int("status", s.outcome.Status),
		slog.Int64("request_bytes", s.outcome.RequestBytes), slog.Int64("response_bytes", s.outcome.ResponseBytes),
	}
	if s.request != nil {
		head := s.request.Head()
		attributes = append(attributes, slog.String("method", head.Method), slog.String("host", head.Authority),
			slog.String("path", mask.Query(head.Path)), slog.String("request_id", head.ID))
		if client := s.request.Conn().Client; client.IsValid() {
			attributes = append(attributes, slog.String("client", client.String()))
		}
	}
	s.server.log.LogAttrs(&s.ctx, slog.LevelWarn, "slow exchange", attributes...)
}

// Outstanding returns how many exchanges wait for the processor, and for how long the one does that waits
// longest: since Envoy's oldest unanswered message came. Only exchanges count whose time is bounded
// ([WithDeadline], or the filter's timeout), which by default is all.
func (s *Server) Outstanding() (n int, oldest time.Duration) {
	now := time.Now().UnixNano()
	s.sweeper.mu.Lock()
	defer s.sweeper.mu.Unlock()
	for st := range s.sweeper.streams {
		waits := false
		for i := range st.asked {
			if asked := st.asked[i].Load(); asked != 0 {
				waits = true
				oldest = max(oldest, time.Duration(now-asked))
			}
		}
		if waits {
			n++
		}
	}
	return n, oldest
}
