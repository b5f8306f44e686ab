package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/authserver"
)

func newAuth() *cobra.Command {
	var config authserver.Config
	var level slog.Level
	cmd := &cobra.Command{
		Use:   "auth -f PATH...",
		Short: "Run the authorizer alone, for an Envoy of your own",
		Long: `Auth serves envoy.service.auth.v3.Authorization and grpc.health.v1.Health. The Envoy
configuration names the policy of a request: the context extension "gatehouse.policy" is the
NAMESPACE/NAME of a SecurityPolicy among the files. A request without one gets the default
policy, else it is denied; an unknown name is answered 503. Changed files take effect at once.`,
		Example: `  gatehouse auth -f policies/ --listen unix:/run/gatehouse.sock
  gatehouse auth -f policies/ --listen 127.0.0.1:9001 --default-policy team-a/api --tls-cert tls.crt --tls-key tls.key`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := requirePaths(cmd, config.Paths); err != nil {
				return err
			}
			if err := config.Check(); err != nil {
				return usageError{err}
			}
			config.Logger = newLogger(level)
			return authserver.Run(cmd.Context(), config)
		},
	}
	filesFlag(cmd, &config.Paths)
	flags := cmd.Flags()
	flags.StringVar(&config.Listen, "listen", "127.0.0.1:9001", "host:port or unix:/path")
	flags.StringVar(&config.DefaultPolicy, "default-policy", "", "NAMESPACE/NAME of the policy for requests that name none")
	flags.StringVar(&config.TLSCert, "tls-cert", "", "PEM file of the server's certificate chain")
	flags.StringVar(&config.TLSKey, "tls-key", "", "PEM file of its key")
	flags.StringVar(&config.TLSClientCA, "tls-client-ca", "", "PEM file of the CA that callers' certificates must come from")
	flags.BoolVar(&config.AllowPrivateJWKS, "allow-private-jwks", false, "let JWKS be fetched from private, link-local and loopback addresses")
	levelFlag(cmd, &level)
	return cmd
}
