package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-proxy/gatehouse/exchange"
)

// Why a Configured processor has failed: the Err of its [Outcome].
var (
	// ErrNoConfiguration indicates an exchange whose filter or route gives no configuration, or several.
	ErrNoConfiguration = errors.New("no configuration")
	// ErrBadConfiguration indicates a configuration that can't be parsed.
	ErrBadConfiguration = errors.New("bad configuration")
)

// maxConfigurations bounds the cache. Their texts come from the proxy's configuration: as many exist as it
// has routes with different ones.
const maxConfigurations = 4096

// Configured is a Processor whose fn gets a configuration that the proxy sends along: the initial gRPC
// metadata of that key, in Envoy per filter by grpc_service.initial_metadata and per route by
// ExtProcOverrides.grpc_initial_metadata. No client reaches it. Keys are lower-case (gRPC's metadata).
//
// parse runs once for each distinct text; what it returns is shared by concurrent exchanges, so fn must
// not change it. Where the key is absent fn gets *def, or, if def is nil, the exchange fails with
// [ErrNoConfiguration]; a text that parse refuses fails it with [ErrBadConfiguration].
func Configured[T any](key string, def *T, parse func(raw string) (T, error), fn func(ctx context.Context, x *Exchange, cfg T) error) Processor {
	return &configured[T]{key: key, def: def, parse: parse, fn: fn, parsed: map[string]func() (T, error){}}
}

type configured[T any] struct {
	key   string
	def   *T
	parse func(string) (T, error)
	fn    func(context.Context, *Exchange, T) error

	mu     sync.RWMutex
	parsed map[string]func() (T, error)
}

// Process implements [Processor].
func (c *configured[T]) Process(ctx context.Context, x *Exchange) error {
	cfg, err := c.configuration(ctx, x.Request)
	if err != nil {
		return err
	}
	return c.fn(ctx, x, cfg)
}

func (c *configured[T]) configuration(ctx context.Context, r *exchange.Request) (T, error) {
	if text, ok := r.Extension(c.key); ok {
		cfg, err := c.entry(text)()
		if err != nil {
			return cfg, fmt.Errorf("%w: %s: %w", ErrBadConfiguration, c.key, err)
		}
		return cfg, nil
	}
	several := len(metadata.ValueFromIncomingContext(ctx, c.key)) > 1
	if c.def == nil || several {
		var none T
		return none, fmt.Errorf("%w: initial metadata %s", ErrNoConfiguration, c.key)
	}
	return *c.def, nil
}

// entry returns the function that parses text once.
func (c *configured[T]) entry(text string) func() (T, error) {
	c.mu.RLock()
	entry, ok := c.parsed[text]
	c.mu.RUnlock()
	if ok {
		return entry
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry, ok := c.parsed[text]; ok {
		return entry
	}
	if len(c.parsed) >= maxConfigurations {
		clear(c.parsed)
	}
	entry = sync.OnceValues(func() (T, error) { return c.parse(text) })
	c.parsed[text] = entry
	return entry
}
