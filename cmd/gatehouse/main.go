// Gatehouse is a gateway for Envoy: see `gatehouse --help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
)

// Exit codes.
const (
	exitInput       = 1 // the input has errors
	exitUsage       = 2
	exitEnvironment = 3 // no Envoy, no free port, …
)

// usageError is a wrong call.
type usageError struct{ error }

// reported is an input error whose lines are printed already.
var errReported = errors.New("the input has errors")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil && !errors.Is(err, errReported) {
		fmt.Fprintln(os.Stderr, "gatehouse:", err)
	}
	os.Exit(exitCode(err))
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, standalone.ErrEnvironment):
		return exitEnvironment
	}
	return exitInput
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatehouse",
		Short: "Secure and extend traffic through Envoy with Gateway API manifests",
		Long: `Gatehouse turns Gateway API and Envoy Gateway manifests into a running Envoy whose security
policies are enforced by Gatehouse's own authorizer.`,
		Example:       "  gatehouse run -f examples/quickstart",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %q", err, cmd.CommandPath()+" --help")}
	})
	root.AddCommand(newRun(), newAuth(), newTranslate(), newValidate(), newStatus(), newExplain(), newAudit(), newTest(), newVersion())
	for _, c := range root.Commands() {
		if c.Args == nil {
			c.Args = noArguments
		}
	}
	return root
}

func unknownCommand(root *cobra.Command, name string) error {
	hint := ""
	root.SuggestionsMinimumDistance = 2
	if near := root.SuggestionsFor(name); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return usageError{fmt.Errorf("unknown command %q%s; see %q", name, hint, root.CommandPath()+" --help")}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	if _, err := os.Stat(args[0]); err == nil && cmd.Flags().Lookup("filename") != nil {
		hint = "; manifests are named by -f"
	}
	return usageError{fmt.Errorf("unexpected argument %q%s; see %q", args[0], hint, cmd.CommandPath()+" --help")}
}

// filesFlag adds -f, which every command that reads manifests has.
func filesFlag(cmd *cobra.Command, paths *[]string) {
	cmd.Flags().StringArrayVarP(paths, "filename", "f", nil,
		"manifest file, directory (read recursively: *.yaml, *.yml, *.json) or - for standard input; repeatable")
}

func requirePaths(cmd *cobra.Command, paths []string) error {
	if len(paths) == 0 {
		return usageError{fmt.Errorf("-f is missing: name a manifest file or directory; see %q", cmd.CommandPath()+" --help")}
	}
	return nil
}

func levelFlag(cmd *cobra.Command, level *slog.Level) {
	cmd.Flags().TextVar(level, "log-level", slog.LevelInfo, "log level: debug, info, warn or error")
}

func newLogger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}
