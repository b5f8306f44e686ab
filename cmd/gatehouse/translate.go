package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/gatehouse-proxy/gatehouse/internal/render"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/security/discovery"
	"github.com/gatehouse-proxy/gatehouse/translator"
)

func newTranslate() *cobra.Command {
	var paths []string
	var options render.Options
	var gateway, state string
	cmd := &cobra.Command{
		Use:   "translate -f PATH...",
		Short: "Print the Envoy configuration that manifests give",
		Long: `Translate prints the final xDS, with secrets redacted. With -o envoy it prints one static
bootstrap, secrets included, that runs as it is; protected routes answer 503 until an
authorizer listens on its socket. Nothing is fetched: what OpenID providers say about themselves
is taken from the state directory, as its gateway has fetched it last. If the input has errors
they are printed, the good part is translated all the same, and the exit code is 1.`,
		Example: `  gatehouse translate -f examples/quickstart --type route
  gatehouse translate -f examples/quickstart -o envoy > envoy.yaml && envoy --mode validate -c envoy.yaml`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := requirePaths(cmd, paths); err != nil {
				return err
			}
			if err := options.Check(); err != nil {
				return usageError{err}
			}
			source, err := files.New(paths)
			if err != nil {
				return usageError{err}
			}
			set, problems, err := source.Load()
			if err != nil {
				return err
			}
			if gateway != "" && !slices.ContainsFunc(set.Gateways.All(), func(g *gatewayv1.Gateway) bool { return g.Namespace+"/"+g.Name == gateway }) {
				return usageError{fmt.Errorf("--gateway %s: no such Gateway is among the files; it is NAMESPACE/NAME", gateway)}
			}
			key := sealKey(cmd, filepath.Join(state, standalone.SealKeyFile))
			t := translator.New(translator.Options{
				ControllerNames: []string{translator.ControllerName, translator.EnvoyGatewayControllerName},
				SealKey:         key, Gateway: gateway, SystemRoots: standalone.SystemRoots(),
			})
			result := t.Translate(set, nil)
			if kept := discovery.Kept(filepath.Join(state, standalone.ProvidersDir), result.Issuers()); len(kept) > 0 {
				set = set.WithProviders(kept)
				result = t.Translate(set, result)
			}
			options.StateDir = state
			if err := render.Snapshot(cmd.OutOrStdout(), result.Snapshot, options); err != nil {
				return err
			}
			if errors, _ := writeFindings(cmd.ErrOrStderr(), standalone.Judge(t, set, problems, result), nil); errors > 0 {
				return errReported
			}
			return nil
		},
	}
	filesFlag(cmd, &paths)
	flags := cmd.Flags()
	flags.StringVarP(&options.Format, "output", "o", render.YAML, "yaml, json, or envoy: one bootstrap for `envoy -c`")
	flags.StringVar(&options.Type, "type", render.All, "all, listener, route, cluster, endpoint, secret, extension or bootstrap")
	flags.StringVar(&gateway, "gateway", "", "only this Gateway, as NAMESPACE/NAME")
	flags.StringVar(&state, "state", defaultState(), "state directory of the gateway whose seal key, sockets and descriptions of OpenID providers are meant")
	return cmd
}

// sealKey is that of the state directory, or one that every reader of this source knows.
func sealKey(cmd *cobra.Command, path string) []byte {
	key, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s doesn't exist: seals are made with a fixed key, don't use the output in production\n", path)
		return []byte("a fixed key, for looking at output")
	}
	return key
}
