package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
)

func newStatus() *cobra.Command {
	var paths []string
	var server, format string
	cmd := &cobra.Command{
		Use:   "status [-f PATH... | --server ADDR]",
		Short: "Print every object with its status",
		Long: `Status prints the conditions of every object as Kubernetes would hold them. Without -f it asks
the running gateway, and so tells what Envoy and the network said too: routes that Envoy refuses,
ports in use, key sets that can't be fetched. With -f it tells what can be known from files; the
condition Programmed is Unknown then. The exit code is 1 if something doesn't work as written.`,
		Example: `  gatehouse status
  gatehouse status -f examples/quickstart -o json | jq '.[].status'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write, ok := statusFormats[format]
			switch {
			case !ok:
				return usageError{fmt.Errorf("-o %s is unknown; use table, yaml or json", format)}
			case len(paths) > 0 && cmd.Flags().Changed("server"):
				return usageError{errors.New("-f and --server are both given; choose one")}
			}
			var objects []kubestatus.Object
			var err error
			var faulty bool
			if len(paths) > 0 {
				objects, faulty, err = fileStatuses(cmd.ErrOrStderr(), paths)
			} else {
				objects, faulty, err = askStatuses(cmd.Context(), cmd.ErrOrStderr(), server)
			}
			if err != nil {
				return err
			}
			if err := write(cmd.OutOrStdout(), objects); err != nil {
				return err
			}
			if faulty || kubestatus.Faulty(objects) {
				return errReported
			}
			return nil
		},
	}
	filesFlag(cmd, &paths)
	flags := cmd.Flags()
	flags.StringVar(&server, "server", "127.0.0.1:19000", "host:port of the running gateway's admin API")
	flags.StringVarP(&format, "output", "o", "table", "table, yaml (one document for each object) or json (one list)")
	return cmd
}

var statusFormats = map[string]func(io.Writer, []kubestatus.Object) error{
	"table": kubestatus.Table, "json": writeJSON, "yaml": writeYAML,
}

func writeJSON(w io.Writer, objects []kubestatus.Object) error {
	text, err := json.MarshalIndent(objects, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

func writeYAML(w io.Writer, objects []kubestatus.Object) error {
	for i := range objects {
		text, err := yaml.Marshal(objects[i])
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

// fileStatuses tells what can be known without Envoy. faulty says that something could not be read at
// all, which no object's status tells.
func fileStatuses(diagnostics io.Writer, paths []string) (objects []kubestatus.Object, faulty bool, err error) {
	checked, err := standalone.Check(paths)
	if err != nil {
		return nil, false, err
	}
	for _, p := range kubestatus.Untold(checked.Set, checked.Problems) {
		fmt.Fprintln(diagnostics, p)
		faulty = true
	}
	objects = checked.Statuses()
	kubestatus.Stamp(objects, nil, time.Now())
	return objects, faulty, nil
}

func askStatuses(ctx context.Context, diagnostics io.Writer, server string) (objects []kubestatus.Object, faulty bool, err error) {
	header, err := ask(ctx, server, http.MethodGet, "/api/status", nil, &objects)
	if err != nil {
		return nil, false, err
	}
	for _, note := range header.Values(standalone.NoteHeader) {
		fmt.Fprintln(diagnostics, note)
		faulty = true
	}
	return objects, faulty, nil
}
