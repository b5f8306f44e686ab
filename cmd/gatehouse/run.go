package main

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/internal/telemetry"
)

func newRun() *cobra.Command {
	var config standalone.Config
	var level slog.Level
	cmd := &cobra.Command{
		Use:   "run -f PATH...",
		Short: "Run a gateway on this machine",
		Long: `Run reads manifests, starts Envoy and serves until SIGTERM or Ctrl-C, which drain it. Changed
files take effect at once. The line "ready" on standard output says that the first
configuration is in force.

` + telemetry.Help,
		Example: `  gatehouse run -f ./config
  gatehouse run -f gateway.yaml -f policies/ --envoy /usr/local/bin/envoy`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := requirePaths(cmd, config.Paths); err != nil {
				return err
			}
			config.Stdout, config.Logger = os.Stdout, newLogger(level)
			config.EnvoyLogLevel = envoyLevel(level)
			traces := telemetry.Start(cmd.Context(), version, config.Logger)
			defer traces.Close()
			config.Tracer = traces.Tracer()
			return standalone.Run(cmd.Context(), config)
		},
	}
	filesFlag(cmd, &config.Paths)
	flags := cmd.Flags()
	flags.StringVar(&config.Envoy, "envoy", "", "path of Envoy 1.40 or newer; none: start none, write its bootstrap to STATE/envoy.yaml (default: $ENVOY, then PATH)")
	flags.StringVar(&config.StateDir, "state", defaultState(), "directory of the sockets and of what must outlive a restart")
	flags.IntVar(&config.Concurrency, "envoy-concurrency", 0, "Envoy's worker threads (default: one for each CPU)")
	flags.BoolVar(&config.NoWatch, "no-watch", false, "don't reload changed files")
	flags.StringVar(&config.AdminAddress, "admin-address", "127.0.0.1:19000", "host:port of the admin API")
	flags.StringVar(&config.MetricsAddress, "metrics-address", "127.0.0.1:19001", "host:port of the metrics page")
	flags.BoolVar(&config.AllowPrivateJWKS, "allow-private-jwks", false, "let JWKS be fetched from private, link-local and loopback addresses")
	levelFlag(cmd, &level)
	return cmd
}

// envoyLevel is quieter than ours: at info Envoy tells of every resource it takes.
func envoyLevel(level slog.Level) string {
	if level <= slog.LevelDebug {
		return "info"
	}
	return "warning"
}

func defaultState() string {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = os.TempDir()
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "gatehouse")
}
