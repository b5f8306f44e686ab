// Package render prints snapshots for people and for `envoy -c`.
package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// The formats and the types beyond those of xDS.
const (
	YAML      = "yaml"
	JSON      = "json"
	Envoy     = "envoy"
	All       = "all"
	Bootstrap = "bootstrap"
)

// Options say what is printed.
type Options struct {
	Format   string
	Type     string
	StateDir string // where the sockets are
}

// Check reports a format or type that doesn't exist.
func (o Options) Check() error {
	if !slices.Contains([]string{YAML, JSON, Envoy}, o.Format) {
		return fmt.Errorf("-o %s is unknown; use yaml, json or envoy", o.Format)
	}
	known := []string{All, Bootstrap}
	for _, t := range snapshot.Types() {
		known = append(known, string(t))
	}
	if !slices.Contains(known, o.Type) {
		return fmt.Errorf("--type %s is unknown; use one of %s", o.Type, strings.Join(known, ", "))
	}
	if o.Format == Envoy && o.Type != All {
		return errors.New("-o envoy prints everything; leave --type out")
	}
	return nil
}

func (o Options) bootstrap() envoy.BootstrapOptions {
	return envoy.BootstrapOptions{
		NodeID: "gatehouse", AuthorizerSocket: filepath.Join(o.StateDir, "authorizer.sock"),
	}
}

// Snapshot writes snap. Secrets are redacted but in the format envoy.
func Snapshot(w io.Writer, snap *snapshot.Snapshot, o Options) error {
	text, err := render(snap, o)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func render(snap *snapshot.Snapshot, o Options) ([]byte, error) {
	if o.Format == Envoy {
		b, err := envoy.Static(snap, o.bootstrap())
		if err != nil {
			return nil, err
		}
		return envoy.YAML(b)
	}
	if o.Type == Bootstrap {
		options := o.bootstrap()
		options.XDSSocket, options.AdminSocket = filepath.Join(o.StateDir, "xds.sock"), filepath.Join(o.StateDir, "admin.sock")
		text, err := envoy.YAML(envoy.NewBootstrap(options))
		if err != nil || o.Format == YAML {
			return text, err
		}
		return yaml.YAMLToJSON(text)
	}
	out := map[string][]any{}
	for _, t := range snapshot.Types() {
		if o.Type != All && o.Type != string(t) {
			continue
		}
		list := []any{}
		for _, r := range snap.Resources[t] {
			object, err := envoy.Object(t, r)
			if err != nil {
				return nil, err
			}
			list = append(list, object)
		}
		out[string(t)+"s"] = list
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil || o.Format == JSON {
		return append(text, '\n'), err
	}
	return yaml.JSONToYAML(text)
}
