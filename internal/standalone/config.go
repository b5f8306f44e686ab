// Package standalone is a whole gateway on one machine: manifests from files, the translator, the agent
// and Envoy as a child process.
package standalone

import (
	"errors"
	"io"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
)

// Config says how a gateway runs.
type Config struct {
	// Paths are the files and directories of the manifests; "-" is standard input.
	Paths []string
	// Envoy is the path of the binary; "" looks for one, "none" starts none and writes the bootstrap to
	// envoy.yaml in StateDir.
	Envoy       string
	Concurrency int // Envoy's worker threads; 0: one for each CPU
	// StateDir holds the sockets and the seal key. One gateway at a time may use it.
	StateDir       string
	NoWatch        bool
	AdminAddress   string // host:port; "" serves none
	MetricsAddress string
	// EnvoyLogLevel is Envoy's own, such as "warning".
	EnvoyLogLevel string
	// AllowPrivateJWKS lets key sets be fetched from private, link-local and loopback addresses.
	AllowPrivateJWKS bool
	// Stdout gets the line "ready" and the access log.
	Stdout io.Writer
	Logger *slog.Logger
	Tracer trace.Tracer // nil: no spans
}

// NoEnvoy as Config.Envoy starts no Envoy.
const NoEnvoy = "none"

var (
	// ErrInput indicates that the manifests can't be used.
	ErrInput = errors.New("unusable input")
	// ErrEnvironment indicates that this machine lacks something: Envoy, a free state directory or port.
	ErrEnvironment = errors.New("the environment doesn't allow it")
)
