package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc/metadata"
)

// Why a Configured processor has failed: the Err of its [Outcome].
var (
	// ErrNoConfiguration indicates an exchange whose filter or route gives no configuration, or several.
	ErrNoConfiguration = errors.New("no configuration")
	// ErrBadConfiguration indicates a configuration that can't be parsed.
	ErrBadConfiguration = errors.New("bad configuration")
)

// The bounds of the memory of texts. As a rule they come from the proxy's configuration: as many exist as it has
// routes with different ones. But attributes and metadata may be the client's, who can send any number of any
// length.
const (
	maxConfigurations = 4096
	maxTexts          = 4 << 20 // bytes of them all
)

// A ConfigSource is where the text of an exchange's configuration comes from.
type ConfigSource struct {
	// Name tells people where to look for it.
	Name string
	// Find returns the text; ok is false where there is none, and an error fails the exchange. It is called
	// concurrently.
	Find func(ctx context.Context, x *Exchange) (text string, ok bool, err error)
}

// FromInitialMetadata is the initial gRPC metadata of that key: in Envoy per filter by
// grpc_service.initial_metadata and per route by ExtProcOverrides.grpc_initial_metadata. No client reaches it.
// Keys are lower-case (gRPC's metadata). Several values of a key are [ErrNoConfiguration].
func FromInitialMetadata(key string) ConfigSource {
	return ConfigSource{"initial metadata " + key, func(ctx context.Context, x *Exchange) (string, bool, error) {
		text, ok := x.Request.Extension(key)
		if !ok && len(metadata.ValueFromIncomingContext(ctx, key)) > 1 {
			return "", false, fmt.Errorf("%w: several values of initial metadata %s", ErrNoConfiguration, key)
		}
		return text, ok, nil
	}}
}

// FromMetadata is a value of dynamic metadata, which filters before this one have written and the filter
// forwards (metadata_options.forwarding_namespaces.untyped): a string as it is, anything else as JSON. It is
// worth as much as these filters.
func FromMetadata(namespace, key string) ConfigSource {
	return ConfigSource{"metadata " + namespace + "." + key, func(_ context.Context, x *Exchange) (string, bool, error) {
		switch value := x.Metadata(namespace)[key].(type) {
		case nil:
			return "", false, nil
		case string:
			return value, true, nil
		default:
			text, err := json.Marshal(value)
			return string(text), err == nil, err
		}
	}}
}

// FromAttribute is an attribute that the filter sends (request_attributes), such as "xds.route_name".
func FromAttribute(name string) ConfigSource {
	return ConfigSource{"attribute " + name, func(_ context.Context, x *Exchange) (string, bool, error) {
		text, ok := x.Attribute(name)
		return text, ok && text != "", nil // Envoy sends an absent one as ""
	}}
}

// Configured is a Processor whose fn gets a configuration that the proxy sends along in initial gRPC metadata of
// that key: [ConfiguredFrom] with [FromInitialMetadata].
func Configured[T any](key string, def *T, parse func(raw string) (T, error), fn func(ctx context.Context, x *Exchange, cfg T) error) Processor {
	return ConfiguredFrom(FromInitialMetadata(key), def, parse, fn)
}

// ConfiguredFrom is a Processor whose fn gets the configuration that source finds for its exchange.
//
// parse runs once for each distinct text; what it returns is shared by concurrent exchanges, so fn must
// not change it. Where there is no text fn gets *def, or, if def is nil, the exchange fails with
// [ErrNoConfiguration]; a text that parse refuses fails it with [ErrBadConfiguration].
func ConfiguredFrom[T any](source ConfigSource, def *T, parse func(raw string) (T, error), fn func(ctx context.Context, x *Exchange, cfg T) error) Processor {
	return &configured[T]{source: source, def: def, parse: parse, fn: fn, parsed: map[string]func() (T, error){}}
}

type configured[T any] struct {
	source ConfigSource
	def    *T
	parse  func(string) (T, error)
	fn     func(context.Context, *Exchange, T) error

	mu     sync.RWMutex
	parsed map[string]func() (T, error)
	size   int // of the keys of parsed, in bytes
}

// Process implements [Processor].
func (c *configured[T]) Process(ctx context.Context, x *Exchange) error {
	cfg, err := c.configuration(ctx, x)
	if err != nil {
		return err
	}
	return c.fn(ctx, x, cfg)
}

func (c *configured[T]) configuration(ctx context.Context, x *Exchange) (cfg T, err error) {
	text, ok, err := c.source.Find(ctx, x)
	switch {
	case err != nil:
		return cfg, err
	case !ok && c.def != nil:
		return *c.def, nil
	case !ok:
		return cfg, fmt.Errorf("%w: %s", ErrNoConfiguration, c.source.Name)
	}
	cfg, err = c.entry(text)()
	if err != nil {
		err = fmt.Errorf("%w: %s: %w", ErrBadConfiguration, c.source.Name, err)
	}
	return cfg, err
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
	if c.size += len(text); len(c.parsed) >= maxConfigurations || c.size > maxTexts {
		clear(c.parsed)
		c.size = len(text)
	}
	text = strings.Clone(text) // a piece of a message would keep all of it
	entry = sync.OnceValues(func() (T, error) { return c.parse(text) })
	c.parsed[text] = entry
	return entry
}
