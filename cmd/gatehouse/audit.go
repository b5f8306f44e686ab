package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
)

// errUnprotected is the exit code's reason; the ways are printed already.
var errUnprotected = errors.New("there are ways to a backend without authentication")

func newAudit() *cobra.Command {
	var paths []string
	var format string
	var unprotected bool
	cmd := &cobra.Command{
		Use:   "audit -f PATH...",
		Short: "List every way by which a request can reach a backend",
		Long: `Audit lists every way to a backend: the listener, the host, the match, and all that can object
on the way. Rules that answer by themselves, such as redirects, are left out. With --unprotected
only ways without authentication are listed, and the exit code is 1 if there is one: no basicAuth,
apiKeyAuth, jwt that isn't optional, oidc, extAuth or required client certificate stands before
the backend. CORS, Rego and rules alone don't ask who is calling, and a dry run asks nobody.`,
		Example: `  gatehouse audit -f examples/quickstart
  gatehouse audit -f gateway.yaml -f policies/ --unprotected -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := requirePaths(cmd, paths); err != nil {
				return err
			}
			if format != "text" && format != "json" {
				return usageError{fmt.Errorf("-o %s is unknown; use text or json", format)}
			}
			site, err := standalone.OpenSite(paths, false)
			if err != nil {
				return err
			}
			defer site.Close()
			faulty := site.Faults(cmd.ErrOrStderr())
			all := site.Gateway.Audit()
			if unprotected {
				all = slices.DeleteFunc(all, func(p explain.Path) bool { return p.Protected() })
			}
			text := func(w io.Writer) error { return explain.Paths(w, all) }
			if err := printAnswer(cmd.OutOrStdout(), format, append([]explain.Path{}, all...), text); err != nil {
				return err
			}
			if unprotected && len(all) > 0 {
				return errUnprotected
			}
			if faulty {
				return errReported
			}
			return nil
		},
	}
	filesFlag(cmd, &paths)
	flags := cmd.Flags()
	flags.StringVarP(&format, "output", "o", "text", "text or json (one list)")
	flags.BoolVar(&unprotected, "unprotected", false, "list only ways without authentication; exit 1 if there is one")
	return cmd
}
