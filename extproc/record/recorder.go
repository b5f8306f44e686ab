package record

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Options change what a Recorder keeps. The zero Options are the safe ones.
type Options struct {
	Redactor Redactor
	// Files bounds how many streams are kept in all; zero is 100.
	Files int
	// Bytes bounds what is kept of one stream; a longer one isn't kept. Zero is 1 MiB.
	Bytes int
	// Keep chooses among the streams, by what is known when one has ended; nil keeps all. The recording is
	// redacted already.
	Keep func(*Recording) bool
	// Logger takes what goes wrong; nil is slog.Default().
	Logger *slog.Logger
}

// Recorder writes streams to a directory, one file each, readable by this user alone. It is used
// concurrently. A stream is never held up or failed by being recorded.
type Recorder struct {
	dir     string
	options Options
	started time.Time
	written atomic.Int64
}

// New returns a Recorder that writes to dir, which is made if need be.
func New(dir string, o Options) (*Recorder, error) {
	if o.Files == 0 {
		o.Files = 100
	}
	if o.Bytes == 0 {
		o.Bytes = 1 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	return &Recorder{dir: dir, options: o, started: time.Now()}, nil
}

// Intercept is a [grpc.StreamServerInterceptor] that records the streams of the ext_proc service and lets
// others be.
func (r *Recorder) Intercept(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if info.FullMethod != processMethod || r.full() {
		return handler(srv, ss)
	}
	s := &recorded{ServerStream: ss, limit: r.options.Bytes, rec: &Recording{Metadata: initial(ss)}}
	err := handler(srv, s)
	s.rec.Code = status.Code(err)
	if keepErr := r.keep(s); keepErr != nil {
		r.options.Logger.Warn("a stream could not be recorded", "error", keepErr)
	}
	return err
}

const processMethod = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"

func (r *Recorder) full() bool { return r.written.Load() >= int64(r.options.Files) }

func (r *Recorder) keep(s *recorded) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case s.over || len(s.rec.Frames) == 0:
		return nil
	}
	r.options.Redactor.Apply(s.rec)
	if r.options.Keep != nil && !r.options.Keep(s.rec) {
		return nil
	}
	n := r.written.Add(1)
	if n > int64(r.options.Files) {
		return nil
	}
	text, err := s.rec.Format()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%06d.txtar", r.started.UTC().Format("20060102T150405"), n)
	return os.WriteFile(filepath.Join(r.dir, name), text, 0o600)
}

// initial is a stream's initial metadata, without what gRPC itself sends.
func initial(ss grpc.ServerStream) map[string][]string {
	md, _ := metadata.FromIncomingContext(ss.Context())
	out := maps.Clone(map[string][]string(md))
	maps.DeleteFunc(out, func(key string, _ []string) bool { return ofGRPC(key) })
	return out
}

// ofGRPC reports whether gRPC itself sends that key.
func ofGRPC(key string) bool {
	return strings.HasPrefix(key, ":") || strings.HasPrefix(key, "grpc-") || strings.HasSuffix(key, "-bin") ||
		key == "content-type" || key == "user-agent" || key == "te"
}

// recorded is a stream as its handler sees it. Sending and receiving may happen at once.
type recorded struct {
	grpc.ServerStream
	limit int

	mu   sync.Mutex
	rec  *Recording
	size int
	over bool
	err  error
}

// RecvMsg notes what was received.
func (s *recorded) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	request, err := Received(m)
	s.note(Frame{Request: request}, err)
	return nil
}

// SendMsg notes what is sent.
func (s *recorded) SendMsg(m any) error {
	response, err := Sent(m)
	s.note(Frame{Response: response}, err)
	return s.ServerStream.SendMsg(m)
}

func (s *recorded) note(f Frame, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = errors.Join(s.err, err)
		return
	}
	if f.Request != nil {
		s.size += proto.Size(f.Request)
	} else {
		s.size += proto.Size(f.Response)
	}
	if s.size > s.limit {
		s.over, s.rec.Frames = true, nil
	}
	if !s.over {
		s.rec.Frames = append(s.rec.Frames, f)
	}
}
