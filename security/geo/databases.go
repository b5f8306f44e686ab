package geo

import (
	"cmp"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/internal/poll"
)

// DefaultInterval is the time between two looks at a file. A change is in force after two of them.
const DefaultInterval = 500 * time.Millisecond

// DefaultMaxBytes bounds a database, which is kept in memory: the largest of MaxMind's have half of it.
const DefaultMaxBytes = 1 << 30

// Options configure [Databases]. The zero value is the default.
type Options struct {
	// Interval between two looks at a file; default [DefaultInterval].
	Interval time.Duration
	// MaxBytes of a file; default [DefaultMaxBytes].
	MaxBytes int64
	// Logger gets failures and recoveries; nil is [slog.Default].
	Logger *slog.Logger
}

// Databases keeps databases in memory, each once however many policies use it. It is safe for concurrent use
// and lives as long as the process; Close stops it.
type Databases struct {
	opts    Options
	sources *poll.Group[string, *source] // by path
}

// New returns Databases without any file. It starts no goroutine until a policy needs one.
func New(opts Options) *Databases {
	opts.Interval = cmp.Or(opts.Interval, DefaultInterval)
	opts.MaxBytes = cmp.Or(opts.MaxBytes, DefaultMaxBytes)
	return &Databases{opts: opts, sources: poll.NewGroup[string, *source](poll.Options{
		FirstRetry: opts.Interval, LastRetry: opts.Interval, Logger: opts.Logger,
	})}
}

// Close ends all looking at files. Contents that were read stay in force.
func (d *Databases) Close() { d.sources.Close() }

// Open returns a policy's locator over the files of spec. Those that nobody uses yet are read before it
// returns; that one can't be read is no error, the locator is just not ready. The error is about a path that
// can't be one.
func (d *Databases) Open(policy string, spec config.GeoIP) (*Locator, error) {
	l := &Locator{databases: d}
	for i, path := range pathsOf(spec) {
		if path == "" {
			continue
		}
		use, err := d.use(policy, path, slotKinds[i])
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("%s database %q: %w", slotKinds[i], path, err)
		}
		l.uses[i] = use
	}
	return l, nil
}

func (d *Databases) use(policy, path string, kind Kind) (*use, error) {
	if err := config.CheckDatabasePath(path); err != nil {
		return nil, err
	}
	u := &use{policy: policy, kind: kind}
	_, err := d.sources.Join(path, func() *source { return newSource(d, path) }, func(s *source) {
		u.source = s
		s.hold(u)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

func (d *Databases) release(u *use) {
	d.sources.Leave(u.source.path, func() (left int) { return u.source.uses.Drop(u) })
}

// States returns the state of every database in use, sorted by path.
func (d *Databases) States() []State {
	return poll.States(d.sources, (*source).state, func(s State) string { return s.Path })
}
