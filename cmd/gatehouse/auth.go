package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/authserver"
	"github.com/gatehouse-proxy/gatehouse/internal/telemetry"
)

func newAuth() *cobra.Command {
	var config authserver.Config
	var level slog.Level
	var printed bool
	cmd := &cobra.Command{
		Use:   "auth -f PATH...",
		Short: "Run the authorizer alone, for an Envoy of your own",
		Long: `Auth serves envoy.service.auth.v3.Authorization, envoy.service.ext_proc.v3.ExternalProcessor
and grpc.health.v1.Health on one port. The Envoy configuration names the policy of a request: the
context extension "gatehouse.policy" (ext_proc: gRPC initial metadata or an attribute of that
name) is the NAMESPACE/NAME of a SecurityPolicy among the files; an unknown name is answered 503.
A request without one gets the default policy. Without that the files' Gateways and routes decide
by host and path; the proxy must then send paths in their normal form. What has no policy is
denied.

Changed files take effect at once. A file that breaks keeps what it held, and the fault is in the
log and in the header gatehouse-problem of the health service. With --print-envoy-config the
command prints what to paste into Envoy's configuration, and ends.

` + telemetry.Help,
		Example: `  gatehouse auth -f policies/ --listen unix:/run/gatehouse.sock
  gatehouse auth -f policies/ --listen 127.0.0.1:9001 --default-policy team-a/api --tls-cert tls.crt --tls-key tls.key
  gatehouse auth -f policies/ --listen unix:/run/gatehouse.sock --print-envoy-config`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := requirePaths(cmd, config.Paths); err != nil {
				return err
			}
			if err := config.Check(); err != nil {
				return usageError{err}
			}
			if printed {
				return printEnvoyConfig(cmd, config)
			}
			config.Logger = newLogger(level)
			traces := telemetry.Start(cmd.Context(), version, config.Logger)
			defer traces.Close()
			config.Tracer = traces.Tracer()
			return authserver.Run(cmd.Context(), config)
		},
	}
	filesFlag(cmd, &config.Paths)
	flags := cmd.Flags()
	flags.StringVar(&config.Listen, "listen", "127.0.0.1:9001", "host:port or unix:/path")
	flags.TextVar(&config.SocketMode, "socket-mode", authserver.SocketMode(0o600), "mode of the Unix socket, in octal: whoever may connect can try credentials")
	flags.StringVar(&config.SocketOwner, "socket-owner", "", "USER or USER:GROUP that the Unix socket belongs to (default: this process's)")
	flags.StringVar(&config.DefaultPolicy, "default-policy", "", "NAMESPACE/NAME of the policy for requests that name none")
	flags.StringVar(&config.TLSCert, "tls-cert", "", "PEM file of the server's certificate chain")
	flags.StringVar(&config.TLSKey, "tls-key", "", "PEM file of its key")
	flags.StringVar(&config.TLSClientCA, "tls-client-ca", "", "PEM file of the CA that callers' certificates must come from")
	flags.BoolVar(&config.AllowPrivateJWKS, "allow-private-jwks", false, "let JWKS be fetched from private, link-local and loopback addresses")
	flags.StringVar(&config.MetricsAddress, "metrics-address", "", "host:port to serve /metrics at; none unless given")
	flags.StringVar(&config.StateDir, "state", defaultState(), "state directory: --print-envoy-config makes the seal key in it, and the server proves its verdicts with it")
	flags.BoolVar(&printed, "print-envoy-config", false, "print the filters and the cluster for Envoy's configuration, and end")
	levelFlag(cmd, &level)
	return cmd
}

// printEnvoyConfig prints it for the good part of files with errors, which are then printed too.
func printEnvoyConfig(cmd *cobra.Command, config authserver.Config) error {
	text, faults, err := authserver.EnvoyConfig(config)
	if err != nil {
		return err
	}
	if _, err := cmd.OutOrStdout().Write(text); err != nil {
		return err
	}
	for _, f := range faults {
		fmt.Fprintln(cmd.ErrOrStderr(), f)
	}
	if len(faults) > 0 {
		return errReported
	}
	return nil
}
