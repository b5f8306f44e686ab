package explain_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-proxy/gatehouse/internal/explain"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/translator"
)

// onPort8080 is a Gateway for the manifests of a test to be about.
const onPort8080 = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: gatehouse, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---`

// gateway translates manifests; what is wrong with them is a part of the cases.
func gateway(t testing.TB, manifests string) *explain.Gateway {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "in.yaml"), []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	source, err := files.New([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := source.Load()
	if err != nil {
		t.Fatal(err)
	}
	options := translator.Options{ControllerNames: []string{translator.ControllerName, translator.EnvoyGatewayControllerName}, SealKey: []byte("key")}
	g, err := explain.New(set, translator.New(options).Translate(set, nil), explain.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// TestWhatTheTranslatorMakesCanBeExplained: every golden case of it, with every feature that it has.
func TestWhatTheTranslatorMakesCanBeExplained(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("../../translator/testdata/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range archive.Files {
				if f.Name != "in.yaml" {
					continue
				}
				g := gateway(t, string(f.Data))
				for _, way := range g.Audit() {
					if len(way.Backends) == 0 || way.Host == "" {
						t.Errorf("a way to nowhere: %+v", way)
					}
					if way.Listener == nil {
						t.Errorf("%s %s %s has no listener", way.Protocol, way.Address, way.Host)
					}
					if way.Route == nil {
						continue // not HTTP
					}
					if way.Route.Kind == "" || !strings.Contains(way.Route.Match, "path") {
						t.Errorf("a route that no object made: %+v", way.Route)
					}
					follow(t, g, &way)
				}
			}
		})
	}
}

// follow explains a request to the way's host, which must end somewhere.
func follow(t *testing.T, g *explain.Gateway, way *explain.Path) {
	t.Helper()
	host := strings.Replace(way.Host, "*", "x", 1)
	answer, err := g.Explain(t.Context(), &explain.Request{
		Method: "GET", URL: strings.ToLower(way.Protocol) + "://" + host + ":" + way.Address[strings.LastIndexByte(way.Address, ':')+1:] + "/",
	})
	if err != nil {
		t.Fatal(err)
	}
	if v := answer.Verdict; v.Outcome == "" || v.By == "" || v.Outcome != explain.Forwarded && v.Status == 0 {
		t.Errorf("%s: %+v", host, v)
	}
	var text strings.Builder
	if err := answer.Text(&text); err != nil || !strings.Contains(text.String(), "verdict") {
		t.Errorf("%v: %s", err, &text)
	}
}
