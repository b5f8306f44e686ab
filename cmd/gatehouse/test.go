package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/policytest"
	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/security/jwt"
)

// policyTest is one call of `gatehouse test`.
type policyTest struct {
	paths   []string
	binary  string
	envoy   bool
	junit   string
	private bool
	out     io.Writer
	errors  io.Writer
}

func newTest() *cobra.Command {
	var t policyTest
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

A JSON file holds recorded CheckRequests of ext_authz instead, which expect nothing. At the end it
names the policies and rules that no case has reached. The exit code is 1 if a case fails.`,
		Example: `  gatehouse test -f examples/quickstart examples/cases/quickstart.yaml
  gatehouse test -f config/ --envoy --junit report.xml cases.yaml`,
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
			cases, err := policytest.Load(args)
			if err != nil {
				return usageError{err}
			}
			return t.run(cmd.Context(), cases)
		},
	}
	filesFlag(cmd, &t.paths)
	flags := cmd.Flags()
	flags.StringVar(&t.binary, "envoy", "", "also send the requests through Envoy: at PATH (as --envoy=PATH), or that of $ENVOY, PATH or .tools")
	flags.Lookup("envoy").NoOptDefVal = findEnvoy
	flags.StringVar(&t.junit, "junit", "", "write a report in JUnit's XML to this file")
	flags.BoolVar(&t.private, "allow-private-jwks", false, "let JWKS be fetched from private, link-local and loopback addresses")
	return cmd
}

func (t *policyTest) run(ctx context.Context, cases []policytest.Case) error {
	checked, err := standalone.Check(t.paths)
	if err != nil {
		return err
	}
	// What is wrong with the manifests may be what a case is about; it doesn't fail the cases.
	faults, _ := checked.Findings()
	for _, f := range faults {
		fmt.Fprintln(t.errors, f)
	}
	fetcher := jwt.NewFetcher(jwt.FetcherOptions{AllowPrivateAddresses: t.private, Logger: slog.New(slog.DiscardHandler)})
	defer fetcher.Close()
	gateway, err := explain.New(checked.Set, checked.Result, fetcher)
	if err != nil {
		return err
	}
	defer gateway.Close()
	var real policytest.Runner
	if t.envoy {
		through, err := t.startEnvoy(ctx, gateway, checked, fetcher)
		if err != nil {
			return err
		}
		defer func() { _ = through.Close() }()
		real = through
	}
	engine := policytest.NewEngine(gateway)
	outcomes, err := policytest.Run(ctx, cases, engine, real)
	if err != nil {
		return err
	}
	return t.report(outcomes, engine)
}

func (t *policyTest) startEnvoy(ctx context.Context, gateway *explain.Gateway, checked *standalone.Checked, fetcher *jwt.Fetcher) (*policytest.Envoy, error) {
	binary := t.binary
	if binary == findEnvoy {
		binary = ""
	}
	binary, err := proxy.Find(ctx, binary)
	if err == nil {
		err = proxy.CheckVersion(ctx, binary)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", standalone.ErrEnvironment, err)
	}
	return policytest.StartEnvoy(ctx, binary, gateway, checked.Result.Snapshot, fetcher)
}

func (t *policyTest) report(outcomes []policytest.Outcome, engine *policytest.Engine) error {
	failed := policytest.Text(t.out, outcomes, engine)
	if t.junit != "" {
		file, err := os.Create(t.junit)
		if err != nil {
			return err
		}
		if err := errors.Join(policytest.JUnit(file, outcomes), file.Close()); err != nil {
			return err
		}
	}
	if failed > 0 {
		return errReported
	}
	return nil
}
