package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
)

func newExplain() *cobra.Command {
	var paths []string
	var server, format, body string
	var private bool
	var request explain.Request
	cmd := &cobra.Command{
		Use:   "explain {-f PATH... | --server ADDR} METHOD URL",
		Short: "Say what becomes of a request, and why",
		Long: `Explain names the listener, the route, the policies and the backend that take a request, in the
order in which it meets them, and gives the verdict of the real policy engine with its reason.
A denial is an answer like any other: the exit code is 0. With --server the running gateway
tells what it has in force. Servers and scripts of your own are named and not asked; nothing is
sent to a backend.`,
		Example: `  gatehouse explain -f examples/quickstart GET http://127.0.0.1:8080/basic
  gatehouse explain -f gateway.yaml -f policies/ POST https://shop.example/orders -H 'authorization: Bearer …' --from 192.0.2.7
  gatehouse explain --server 127.0.0.1:19000 -o json GET http://127.0.0.1:8080/public`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{errors.New("explain takes a method and a URL, such as GET http://shop.example/orders")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			request.Method, request.URL = args[0], args[1]
			if format != "text" && format != "json" {
				return usageError{fmt.Errorf("-o %s is unknown; use text or json", format)}
			}
			if (len(paths) > 0) == (server != "") {
				return usageError{errors.New("name manifests by -f or a running gateway by --server")}
			}
			if body != "" {
				text, err := readBody(cmd, body)
				if err != nil {
					return usageError{fmt.Errorf("--body: %w", err)}
				}
				request.Body = text
			}
			var answer *explain.Explanation
			var err, faulty error
			if server != "" {
				answer, err = askExplanation(cmd.Context(), server, &request)
			} else {
				answer, faulty, err = explainFiles(cmd, paths, private, &request)
			}
			if err != nil {
				return err
			}
			if err := printAnswer(cmd.OutOrStdout(), format, answer, answer.Text); err != nil {
				return err
			}
			return faulty
		},
	}
	filesFlag(cmd, &paths)
	flags := cmd.Flags()
	flags.StringVar(&server, "server", "", "host:port of a running gateway's admin API, such as 127.0.0.1:19000")
	flags.StringVarP(&format, "output", "o", "text", "text or json")
	flags.StringArrayVarP(&request.Headers, "header", "H", nil, "header line 'name: value'; repeatable. A Host takes the place of the URL's")
	flags.StringVar(&request.From, "from", "", "IP address that the connection comes from (default 127.0.0.1)")
	flags.BoolVar(&request.HTTP2, "http2", false, "the request is sent by HTTP/2")
	flags.StringVar(&body, "body", "", "file with the request's body, or - for standard input")
	flags.BoolVar(&private, "allow-private-jwks", false, "let JWKS be fetched from private, link-local and loopback addresses")
	return cmd
}

// readBody reads a file, or standard input for "-".
func readBody(cmd *cobra.Command, path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(path)
}

// explainFiles returns errReported as faulty if the manifests have errors, which are then printed.
func explainFiles(cmd *cobra.Command, paths []string, private bool, request *explain.Request) (answer *explain.Explanation, faulty, err error) {
	site, err := standalone.OpenSite(paths, private)
	if err != nil {
		return nil, nil, err
	}
	defer site.Close()
	if site.Faults(cmd.ErrOrStderr()) {
		faulty = errReported
	}
	answer, err = site.Gateway.Explain(cmd.Context(), request)
	if errors.Is(err, explain.ErrRequest) {
		err = usageError{err}
	}
	return answer, faulty, err
}

func printAnswer(w io.Writer, format string, answer any, text func(io.Writer) error) error {
	if format == "text" {
		return text(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(answer)
}

// askExplanation asks a running gateway.
func askExplanation(ctx context.Context, server string, request *explain.Request) (*explain.Explanation, error) {
	question, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var answer explain.Explanation
	_, err = ask(ctx, server, http.MethodPost, "/api/explain", bytes.NewReader(question), &answer)
	return &answer, err
}
