package standalone

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"

	"github.com/gatehouse-proxy/gatehouse/internal/proxy"
	"github.com/gatehouse-proxy/gatehouse/snapshot"
	"github.com/gatehouse-proxy/gatehouse/translator/envoy"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// TryEnvoy has a real Envoy load the translation and adds what it refuses to the Facts. Its words that
// can't be laid at an object's door are returned as problems. The error wraps ErrEnvironment.
func (c *Checked) TryEnvoy(ctx context.Context, explicit string) ([]resource.Problem, error) {
	binary, err := proxy.Find(ctx, explicit)
	if err == nil {
		err = proxy.CheckVersion(ctx, binary)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	t := &trial{ctx: ctx, binary: binary, held: map[string]envoy.Replacement{}}
	words := t.whole(c.Result.Snapshot)
	if words == "" || t.err != nil {
		return nil, t.err
	}
	for _, config := range c.Result.Snapshot.Resources[snapshot.Route] {
		t.search(envoy.Pieces(config))
	}
	for _, r := range t.held {
		c.Facts = append(c.Facts, Refused(r.Route, r.Words)...)
	}
	// With the bad routes out of the way Envoy tells what else it refuses.
	rest := words
	if len(t.held) > 0 {
		rest = t.whole(t.without(c.Result.Snapshot))
	}
	if rest == "" || t.err != nil {
		return nil, t.err
	}
	if facts := Refused(objectName.FindString(rest), rest); len(facts) > 0 {
		c.Facts = append(c.Facts, facts...)
		return nil, nil
	}
	return []resource.Problem{{Message: "Envoy refuses the configuration: " + oneLine(rest)}}, nil
}

// objectName is a name that an object gave to a resource of Envoy, within a text.
var objectName = regexp.MustCompile(`\b(httproute|grpcroute|securitypolicy|envoyextensionpolicy)/[-a-z0-9.]+/[-a-z0-9.]+(/rule/[0-9]+)?`)

// trial asks one Envoy about many configurations. The first error ends it.
type trial struct {
	ctx    context.Context //nolint:containedctx // it lives as long as one call
	binary string
	held   map[string]envoy.Replacement
	err    error
}

// ask returns Envoy's words of refusal.
func (t *trial) ask(bootstrap []byte, err error) string {
	if err == nil && t.err == nil {
		err = proxy.Validate(t.ctx, t.binary, bootstrap)
	}
	if rejected, ok := errors.AsType[*proxy.RejectedError](err); ok {
		return rejected.Words
	}
	if err != nil && t.err == nil {
		t.err = fmt.Errorf("%w: %w", ErrEnvironment, err)
	}
	return ""
}

func (t *trial) whole(snap *snapshot.Snapshot) string {
	b, err := envoy.Static(snap, envoy.BootstrapOptions{NodeID: "gatehouse", AuthorizerSocket: "/nonexistent"})
	if err != nil {
		return t.ask(nil, err)
	}
	return t.ask(envoy.YAML(b))
}

// search finds the routes that Envoy refuses by trying them in halves.
func (t *trial) search(pieces []envoy.Piece) {
	if len(pieces) == 0 || t.err != nil {
		return
	}
	words := t.ask(envoy.Trial(pieces))
	switch {
	case words == "":
	case len(pieces) == 1:
		if standIns := envoy.StandIns(pieces[0], words); len(standIns) > 0 {
			t.held[pieces[0].Key] = standIns[len(standIns)-1]
		}
	default:
		t.search(pieces[:len(pieces)/2])
		t.search(pieces[len(pieces)/2:])
	}
}

func (t *trial) without(snap *snapshot.Snapshot) *snapshot.Snapshot {
	out := *snap
	out.Resources = maps.Clone(snap.Resources)
	out.Resources[snapshot.Route] = nil
	for _, config := range snap.Resources[snapshot.Route] {
		out.Resources[snapshot.Route] = append(out.Resources[snapshot.Route], envoy.Replace(config, t.held))
	}
	return &out
}
