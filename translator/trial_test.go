package translator_test

import (
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/gatehouse-proxy/gatehouse/internal/envoytest"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
)

// TestATrialOfRoutesNeedsNothingElse: a good route that needs secrets isn't taken for the bad one that is
// looked for.
func TestATrialOfRoutesNeedsNothingElse(t *testing.T) {
	t.Parallel()
	archive, err := txtar.ParseFile("testdata/security-oidc.txtar")
	if err != nil {
		t.Fatal(err)
	}
	result := newTranslator().Translate(load(t, section(archive, "in.yaml")), nil)
	var pieces []envoy.Piece
	for _, config := range result.Snapshot.Resources[snapshot.Route] {
		pieces = append(pieces, envoy.Pieces(config)...)
	}
	trial, err := envoy.Trial(append(pieces, pieces...))
	if err != nil || len(pieces) == 0 {
		t.Fatal(len(pieces), err)
	}
	envoytest.Validate(t, string(trial))
}
