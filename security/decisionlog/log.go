package decisionlog

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gatehouse-proxy/gatehouse/security/config"
)

// Defaults of [Options].
const (
	DefaultQueue      = 4096
	DefaultQueueBytes = 32 << 20
)

// Options configure a [Log]. The zero value writes to standard output and forbids files.
type Options struct {
	// Stdout is the sink Stdout; nil is [os.Stdout].
	Stdout io.Writer
	// Dir is where the sink File writes NAMESPACE.NAME.jsonl; "": policies with that sink can't be used.
	// A file of 64 MiB is renamed to NAMESPACE.NAME.jsonl.1, in place of the one before.
	Dir string
	// Queue bounds the events that wait to be written, QueueBytes the size of their inputs.
	Queue      int
	QueueBytes int64
	// Logger is told of sinks that fail; nil is [slog.Default].
	Logger *slog.Logger
}

// Log writes the decisions of all policies of a process. It is safe for concurrent use. Close writes what
// waits.
type Log struct {
	opts    Options
	queue   chan queued
	waiting atomic.Int64 // bytes
	written atomic.Uint64
	dropped atomic.Uint64
	failed  bool // belongs to run
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
	process string
	files   map[string]*file // belongs to run
}

type queued struct {
	to    *Logger
	event Event
	size  int64
}

// New starts a log.
func New(opts Options) *Log {
	if opts.Stdout == nil {
		opts.Stdout = os.Stdout
	}
	if opts.Queue == 0 {
		opts.Queue = DefaultQueue
	}
	if opts.QueueBytes == 0 {
		opts.QueueBytes = DefaultQueueBytes
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	l := &Log{
		opts: opts, queue: make(chan queued, opts.Queue), stop: make(chan struct{}), done: make(chan struct{}),
		process: rand.Text(), files: map[string]*file{},
	}
	go l.run()
	return l
}

// Close writes what waits and closes the files. Later events are dropped.
func (l *Log) Close() {
	l.once.Do(func() { close(l.stop) })
	<-l.done
}

// Stats returns how many events were written and dropped since the start.
func (l *Log) Stats() (written, dropped uint64) { return l.written.Load(), l.dropped.Load() }

// Logger logs the decisions of one policy. Safe for concurrent use.
type Logger struct {
	log          *Log
	policy, path string
	mask         []pointer
	credentials  Credentials
	file         string // "" is standard output
}

// Open checks a policy's settings. path is that of the decision; credentials are erased whatever the mask
// says.
func (l *Log) Open(policy, path string, spec *config.DecisionLog, credentials Credentials) (*Logger, error) {
	logger := &Logger{log: l, policy: policy, path: path, credentials: credentials}
	for i, text := range spec.Mask {
		p, err := parsePointer(text)
		if err != nil {
			return nil, fmt.Errorf("mask[%d]: %w", i, err)
		}
		logger.mask = append(logger.mask, p)
	}
	switch spec.Sink {
	case "", "Stdout":
		return logger, nil
	case "File":
	default:
		return nil, fmt.Errorf("sink: %.32q is neither Stdout nor File", spec.Sink)
	}
	if l.opts.Dir == "" {
		return nil, errors.New("sink: this program writes no files; use Stdout")
	}
	logger.file = strings.ReplaceAll(policy, "/", ".") + ".jsonl"
	if strings.HasPrefix(logger.file, ".") || strings.ContainsFunc(logger.file, func(c rune) bool { return c < '-' || c > 'z' || c == '/' || c == '\\' }) {
		return nil, errors.New("sink: the policy's name can't be a file's name; use Stdout")
	}
	return logger, nil
}

// Log puts an event into the queue, and never waits. size is about how many bytes of memory it keeps.
func (lg *Logger) Log(e Event, size int) {
	l, cost := lg.log, int64(size)+512
	select {
	case <-l.stop:
		l.dropped.Add(1)
		return
	default:
	}
	if l.waiting.Add(cost) > l.opts.QueueBytes {
		l.waiting.Add(-cost)
		l.dropped.Add(1)
		return
	}
	select {
	case l.queue <- queued{to: lg, event: e, size: cost}:
		return
	default:
	}
	l.waiting.Add(-cost)
	l.dropped.Add(1)
}

func (l *Log) run() {
	defer close(l.done)
	var n uint64
	write := func(q *queued) {
		n++
		l.waiting.Add(-q.size)
		l.write(q.to.file, q.to.line(fmt.Sprintf("%s-%d", l.process, n), &q.event))
	}
	for {
		select {
		case q := <-l.queue:
			write(&q)
			continue
		case <-l.stop:
		}
		for {
			select {
			case q := <-l.queue:
				write(&q)
				continue
			default:
			}
			l.closeFiles()
			return
		}
	}
}

// write tells of a sink's failure once, until it works again.
func (l *Log) write(name string, line []byte) {
	err := l.sink(name, line)
	if err != nil {
		l.dropped.Add(1)
		if !l.failed {
			l.opts.Logger.Error("decisions can't be logged", "error", err)
		}
	} else {
		l.written.Add(1)
	}
	l.failed = err != nil
}

func (l *Log) sink(name string, line []byte) error {
	if name == "" {
		_, err := l.opts.Stdout.Write(line)
		return err
	}
	f := l.files[name]
	if f == nil {
		f = &file{path: l.opts.Dir + string(os.PathSeparator) + name}
		l.files[name] = f
	}
	return f.write(line)
}

func (l *Log) closeFiles() {
	for _, f := range l.files {
		if err := f.close(); err != nil {
			l.opts.Logger.Error("the log of decisions may be incomplete", "error", err)
		}
	}
}
