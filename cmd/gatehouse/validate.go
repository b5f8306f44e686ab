package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// findEnvoy as the value of --envoy looks for the binary.
const findEnvoy = "find"

func newValidate() *cobra.Command {
	var paths []string
	var binary string
	var strict bool
	cmd := &cobra.Command{
		Use:   "validate -f PATH...",
		Short: "Say what is wrong with manifests, without running them",
		Long: `Validate checks syntax, fields, references and meaning, and compiles every policy: password
files, key sets, Rego. With --envoy the real Envoy loads the result too. Each finding is a line

  file:line: Kind namespace/name: field: what is wrong and what to do

on standard error. The exit code is 1 if there is one; warnings count with --strict.`,
		Example: `  gatehouse validate -f examples/quickstart
  gatehouse validate -f gateway.yaml -f policies/ --envoy --strict`,
		// pflag takes the PATH of "--envoy PATH" for an argument, since it may be left out.
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && binary == findEnvoy {
				return nil
			}
			return noArguments(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := requirePaths(cmd, paths); err != nil {
				return err
			}
			if slices.Contains(paths, "") {
				return usageError{errors.New("-f is empty")}
			}
			checked, err := standalone.Check(paths)
			if err != nil {
				return err
			}
			var unplaced []resource.Problem
			if cmd.Flags().Changed("envoy") {
				if len(args) == 1 {
					binary = args[0]
				}
				if binary == findEnvoy {
					binary = ""
				}
				if unplaced, err = checked.TryEnvoy(cmd.Context(), binary); err != nil {
					return err
				}
			}
			return printFindings(cmd, checked, unplaced, strict)
		},
	}
	filesFlag(cmd, &paths)
	flags := cmd.Flags()
	flags.StringVar(&binary, "envoy", "", "also load the result in Envoy: at PATH, or that of $ENVOY, PATH or .tools")
	flags.Lookup("envoy").NoOptDefVal = findEnvoy
	flags.BoolVar(&strict, "strict", false, "take warnings for errors")
	return cmd
}

func printFindings(cmd *cobra.Command, checked *standalone.Checked, unplaced []resource.Problem, strict bool) error {
	faults, warnings := writeFindings(cmd.ErrOrStderr(), checked, unplaced)
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s, %s\n", count(faults, "error"), count(warnings, "warning")); err != nil {
		return err
	}
	if faults > 0 || strict && warnings > 0 {
		return errReported
	}
	return nil
}

// writeFindings writes a line for each finding, and returns how many errors and warnings there are.
func writeFindings(w io.Writer, checked *standalone.Checked, unplaced []resource.Problem) (errors, warned int) {
	faults, warnings := checked.Findings()
	faults = append(faults, unplaced...)
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
	for _, one := range warnings {
		fmt.Fprintln(w, one.String()+" (warning)")
	}
	for _, n := range slices.Concat(standalone.Notes(checked.Set), standalone.Unfetched(checked.Set, checked.Result)) {
		fmt.Fprintln(w, n.String()+" (note)")
	}
	return len(faults), len(warnings)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
