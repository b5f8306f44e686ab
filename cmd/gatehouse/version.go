package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
)

// version is set when a release is linked: -ldflags "-X main.version=v0.1.0".
var version = "v0.1.0-dev"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version and the Envoy it pairs with",
		Example: "  gatehouse version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "gatehouse %s (commit %s), for Envoy %s or newer\n", version, commit(), proxy.MinVersion)
			return err
		},
	}
}

func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
