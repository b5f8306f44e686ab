package proxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
)

// logFormat is level, logger and message with its line breaks escaped, so that a line is a record.
const logFormat = "%l\t%n\t%_"

const (
	maxLine   = 16 << 10
	keptLines = 5
)

// lineLogger turns Envoy's log into slog records. exec.Cmd writes to it from one goroutine.
type lineLogger struct {
	logger  *slog.Logger
	partial []byte
	// ending is set when Envoy was told to end: it then warns of the signal and of each broken stream.
	ending atomic.Bool

	mu   sync.Mutex
	last []string
}

func (w *lineLogger) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		w.keep(p[:i])
		w.flush()
		p = p[i+1:]
	}
	w.keep(p)
	return n, nil
}

func (w *lineLogger) keep(p []byte) {
	w.partial = append(w.partial, p[:min(len(p), maxLine-len(w.partial))]...)
}

// flush logs what was written since the last line break.
func (w *lineLogger) flush() {
	line := string(w.partial)
	w.partial = w.partial[:0]
	if strings.TrimSpace(line) == "" {
		return
	}
	// Lines that aren't records come from before logging is set up and from crashes: both matter.
	level, logger, message := slog.LevelError, "", line
	if parts := strings.SplitN(line, "\t", 3); len(parts) == 3 {
		level, logger, message = logLevel(parts[0]), parts[1], parts[2]
	}
	if level >= slog.LevelError {
		w.remember(message)
	}
	if w.ending.Load() {
		level = slog.LevelDebug
	}
	w.logger.LogAttrs(context.Background(), level, message, slog.String("logger", logger))
}

func (w *lineLogger) remember(message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.last) == keptLines {
		w.last = w.last[1:]
	}
	w.last = append(w.last, message)
}

func (w *lineLogger) lastErrors() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.last...)
}

func logLevel(name string) slog.Level {
	switch name {
	case "trace", "debug":
		return slog.LevelDebug
	case "info":
		return slog.LevelInfo
	case "warning":
		return slog.LevelWarn
	default:
		return slog.LevelError
	}
}

// plainWriter hides that a writer is a file, so that exec.Cmd makes a pipe. A failing writer must not
// close that pipe: Envoy would get SIGPIPE for a full disk of somebody's log.
type plainWriter struct{ to io.Writer }

func (w *plainWriter) Write(p []byte) (int, error) {
	_, _ = w.to.Write(p)
	return len(p), nil
}
