package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Config says how an Envoy is run.
type Config struct {
	// Binary is the path of Envoy, as from [Find].
	Binary string
	// Bootstrap is the bootstrap as JSON or YAML. It is written to Dir with mode 0600, since it may
	// hold keys. Exactly one of Bootstrap and BootstrapPath is set.
	Bootstrap []byte
	// BootstrapPath is an existing bootstrap file, whose name ends in .json, .yaml or .pb.
	BootstrapPath string
	// Dir is Envoy's working directory, which must exist. Default: the program's own.
	Dir string
	// AdminSocket is the path of the Unix socket on which the bootstrap makes Envoy's admin listen.
	// Without it there is no graceful stop: Envoy's only other way to be told is a signal, and
	// SIGTERM ends it within 20 ms, cutting off every request.
	AdminSocket string
	// Concurrency is the number of worker threads; 0: one for each CPU, Envoy's default.
	Concurrency int
	// LogLevel is Envoy's log level: trace, debug, info, warning, error, critical or off.
	// Default: warning.
	LogLevel string
	// DrainTimeout bounds how long active requests may go on once Run's context has ended. Default 5 s;
	// negative: no drain.
	DrainTimeout time.Duration
	// Args are passed to Envoy after the others.
	Args []string
	// Logger receives Envoy's own log, with Envoy's logger as the attribute logger, and when it starts, ends and
	// restarts. Default: slog.Default.
	Logger *slog.Logger
	// Stdout receives what Envoy writes to standard output, such as an access log. Default: nowhere.
	// It is called from one goroutine at a time.
	Stdout io.Writer
}

// maxSocketPath is what fits into sockaddr_un.sun_path beside its NUL on Linux.
const maxSocketPath = 107

// prepare fills in the defaults, writes the bootstrap file and returns Envoy's arguments.
func (c *Config) prepare() ([]string, error) {
	if (len(c.Bootstrap) == 0) == (c.BootstrapPath == "") {
		return nil, errors.New("proxy: exactly one of Bootstrap and BootstrapPath must be set")
	}
	if len(c.AdminSocket) > maxSocketPath {
		return nil, fmt.Errorf("the socket path %s has %d bytes and the system allows %d: choose a shorter state directory",
			c.AdminSocket, len(c.AdminSocket), maxSocketPath)
	}
	path := c.BootstrapPath
	if path == "" {
		var err error
		if path, err = writeBootstrap(c.Dir, c.Bootstrap); err != nil {
			return nil, err
		}
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--config-path", path,
		// Without it two Envoys of one machine would meet in shared memory by their base id.
		"--disable-hot-restart",
		"--log-level", c.LogLevel,
		"--log-format", logFormat,
	}
	if c.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(c.Concurrency))
	}
	return append(args, c.Args...), nil
}

func (c *Config) defaults() {
	if c.LogLevel == "" {
		c.LogLevel = "warning"
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
}

// writeBootstrap leaves the file under the extension by which Envoy chooses its parser.
func writeBootstrap(dir string, bootstrap []byte) (string, error) {
	name := "envoy.yaml"
	if bytes.HasPrefix(bytes.TrimSpace(bootstrap), []byte("{")) {
		name = "envoy.json"
	}
	path := filepath.Join(dir, name)
	// A file that is already there would keep its mode.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return path, os.WriteFile(path, bootstrap, 0o600)
}
