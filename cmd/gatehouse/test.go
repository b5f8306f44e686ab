package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/policytest"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
)

// policyTest is one call of `gatehouse test`.
type policyTest struct {
	paths     []string
	shadow    []string
	binary    string
	envoy     bool
	junit     string
	transport string
	private   bool
	out       io.Writer
	errors    io.Writer
}

func newTest() *cobra.Command {
	var t policyTest
	var watch bool
	cmd := &cobra.Command{
		Use:   "test -f PATH... CASES...",
		Short: "Try the policies of manifests on requests with expected verdicts",
		Long: `Test sends no request to a backend: it runs the real policy engine, in process, on the route
that Envoy would take. With --envoy a real Envoy on loopback ports takes the requests too, before
backends that only take notes, and must come to the same results. CASES are files or directories:

  cases:
  - name: strangers are sent away
    request: {method: GET, url: "https://shop.example/orders", headers: {origin: "https://app.example"}, from: 192.0.2.7}
    expect:
      verdict: deny                    # allow, deny, or answer: the gateway answers by itself
      status: 401
      reason: credentials_missing
      policy: demo/shop
      route: demo/shop
      requestHeaders: {x-user: null}   # what the backend gets; null: not there
      responseHeaders: {access-control-allow-origin: "https://app.example"}

A request with http2: true goes by HTTP/2; expect.grpcStatus is what a gRPC client gets.

A JSON file holds recorded CheckRequests of ext_authz instead, which expect nothing: with --shadow
they show what another version of the policies would change. At the end it names the policies and
rules that no case has reached. The exit code is 1 if a case fails or something would change.`,
		Example: `  gatehouse test -f examples/quickstart examples/cases/quickstart.yaml
  gatehouse test -f config/ --envoy --junit report.xml cases.yaml
  gatehouse test -f config/ --shadow new-config/ recorded.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("test takes files with cases; see \"gatehouse test --help\"")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := requirePaths(cmd, t.paths); err != nil {
				return err
			}
			t.envoy = cmd.Flags().Changed("envoy")
			t.out, t.errors = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if watch {
				return t.again(cmd.Context(), args)
			}
			return t.once(cmd.Context(), args)
		},
	}
	filesFlag(cmd, &t.paths)
	flags := cmd.Flags()
	flags.StringVar(&t.binary, "envoy", "", "also send the requests through Envoy: at PATH (as --envoy=PATH), or that of $ENVOY, PATH or .tools")
	flags.Lookup("envoy").NoOptDefVal = findEnvoy
	flags.StringVar(&t.junit, "junit", "", "write a report in JUnit's XML to this file")
	flags.StringArrayVar(&t.shadow, "shadow", nil, "manifests of another version of the policies: say for which requests it decides otherwise, and exit 1 if there is one; repeatable")
	flags.StringVar(&t.transport, "transport", "", "have the engine asked by a protocol's messages, as Envoy asks it: extauthz or extproc (default: none)")
	flags.BoolVar(&watch, "watch", false, "try again whenever a manifest or a case changes, until interrupted")
	flags.BoolVar(&t.private, "allow-private-jwks", false, "let JWKS be fetched from private, link-local and loopback addresses")
	return cmd
}

// again tries everything anew at each change, until ctx ends.
func (t *policyTest) again(ctx context.Context, caseFiles []string) error {
	return policytest.Watch(ctx, slices.Concat(t.paths, t.shadow, caseFiles), func() {
		if err := t.once(ctx, caseFiles); err != nil && !errors.Is(err, errReported) {
			fmt.Fprintln(t.errors, "gatehouse:", err)
		}
	})
}

func (t *policyTest) once(ctx context.Context, caseFiles []string) error {
	cases, err := policytest.Load(caseFiles)
	if err != nil {
		return usageError{err}
	}
	site, err := standalone.OpenSite(t.paths, t.private)
	if err != nil {
		return err
	}
	defer site.Close()
	over, stop, err := policytest.Over(t.transport)
	if err != nil {
		return usageError{err}
	}
	defer stop()
	site.Gateway.Over(over)
	// What is wrong with the manifests may be what a case is about; it doesn't fail the cases.
	site.Faults(t.errors)
	engine := policytest.NewEngine(site.Gateway)
	outcomes, err := t.try(ctx, site, cases, engine)
	if err != nil {
		return err
	}
	changes, err := t.compare(ctx, outcomes)
	if err != nil {
		return err
	}
	failed := policytest.Text(t.out, outcomes, changes, engine.Missed())
	if t.junit != "" {
		file, err := os.Create(t.junit)
		if err == nil {
			err = errors.Join(policytest.JUnit(file, outcomes), file.Close())
		}
		if err != nil {
			return fmt.Errorf("%w: --junit: %w", standalone.ErrEnvironment, err)
		}
	}
	if failed > 0 || len(changes) > 0 {
		return errReported
	}
	return nil
}

// try runs the cases by the engine, and through Envoy where that is asked for.
func (t *policyTest) try(ctx context.Context, site *standalone.Site, cases []policytest.Case, engine *policytest.Engine) ([]policytest.Outcome, error) {
	if !t.envoy {
		return policytest.Run(ctx, cases, engine, nil)
	}
	binary := t.binary
	if binary == findEnvoy {
		binary = ""
	}
	running, err := site.Envoy(ctx, binary)
	if err != nil {
		return nil, err
	}
	defer func() { _ = running.Close() }()
	return policytest.Run(ctx, cases, engine, running)
}

// compare runs the cases by the other manifests too.
func (t *policyTest) compare(ctx context.Context, outcomes []policytest.Outcome) ([]policytest.Change, error) {
	if len(t.shadow) == 0 {
		return nil, nil
	}
	other, err := standalone.OpenSite(t.shadow, t.private)
	if err != nil {
		return nil, err
	}
	defer other.Close()
	other.Faults(t.errors)
	return policytest.Shadow(ctx, outcomes, policytest.NewEngine(other.Gateway)), nil
}
