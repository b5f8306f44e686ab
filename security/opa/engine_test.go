package opa_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/internal/bundletest"
	"github.com/gatehouse-proxy/gatehouse/security/bundle"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/opa"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

// fetchers reports each fetch on the channel.
func fetchers(t *testing.T) (*bundle.Fetcher, <-chan bundle.State) {
	t.Helper()
	fetched := make(chan bundle.State, 1000)
	f := bundle.NewFetcher(bundle.Options{
		FirstRetry: time.Millisecond, LastRetry: 5 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
		OnFetch: func(s bundle.State) { fetched <- s },
	})
	t.Cleanup(f.Close)
	return f, fetched
}

func until(t *testing.T, fetched <-chan bundle.State, property func(bundle.State) bool) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case s := <-fetched:
			if property(s) {
				return
			}
		case <-limit:
			t.Fatal("it doesn't come about in time")
		}
	}
}

func from(s *bundletest.Server) config.Bundle {
	return config.Bundle{URL: s.URL + "/b.tar.gz", CACertificate: &config.Source{Inline: s.CA}, AllowPrivateAddresses: true, PollInterval: time.Second}
}

func inline(module string, bundles ...config.Bundle) *config.OPA {
	return &config.OPA{Modules: []config.Module{{Name: "m.rego", Source: config.Source{Inline: module}}}, Bundles: bundles}
}

func archive(t *testing.T, module, data string) []byte {
	t.Helper()
	return bundletest.Archive(t, map[string]string{".manifest": `{"roots": ["app"]}`, "app/a.rego": "package app\n" + module, "app/known/data.json": data})
}

func start(t *testing.T, spec *config.OPA, f *bundle.Fetcher) *opa.Engine {
	t.Helper()
	e, err := opa.Compile(spec, opa.Deps{Policy: "team-a/api", Bundles: f})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func allows(t *testing.T, e *opa.Engine, method string) bool {
	t.Helper()
	d, err := e.Decide(t.Context(), exchange.NewRequest(exchange.Head{Method: method, Path: "/"}, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	return d.Allowed
}

const usesBundle = "package envoy.authz\ndefault allow := false\nallow if data.app.ok"

func TestABundleDecidesWithThePolicysOwnModules(t *testing.T) {
	t.Parallel()
	server := bundletest.Serve(t, archive(t, "ok if input.attributes.request.http.method in data.app.known.methods", `{"methods": ["GET"]}`))
	f, fetched := fetchers(t)
	e := start(t, inline(usesBundle, from(server)), f)
	until(t, fetched, func(s bundle.State) bool { return s.Uses[0].InForce })
	if !allows(t, e, "GET") || allows(t, e, "PUT") {
		t.Error("the bundle doesn't decide")
	}
	server.Publish(archive(t, "ok if input.attributes.request.http.method in data.app.known.methods", `{"methods": ["PUT"]}`))
	until(t, fetched, func(bundle.State) bool { return allows(t, e, "PUT") })
	if allows(t, e, "GET") {
		t.Error("GET still passes")
	}
}

func TestNothingPassesBeforeAllBundlesAreThere(t *testing.T) {
	t.Parallel()
	first, second := bundletest.Serve(t, archive(t, "ok := true", `{}`)), bundletest.Serve(t, nil)
	f, fetched := fetchers(t)
	e := start(t, inline("package envoy.authz\ndefault allow := true", from(first), from(second)), f)
	until(t, fetched, func(s bundle.State) bool { return s.LastError != "" })
	r := exchange.NewRequest(exchange.Head{Method: "GET", Path: "/"}, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil)
	if _, err := e.Decide(t.Context(), r, nil); !errors.Is(err, opa.ErrNoBundle) {
		t.Fatal(err)
	}
	second.Publish(bundletest.Archive(t, map[string]string{".manifest": `{"roots": ["more"]}`, "more/data.json": "{}"}))
	until(t, fetched, func(s bundle.State) bool { return s.Uses[0].InForce })
	if !allows(t, e, "GET") {
		t.Error("the bundles are there")
	}
}

// What a bundle brings is used as a whole or not at all, also where it is sound by itself.
func TestS40BundlesThatDoNotFitChangeNothing(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]map[string]string{
		"network":                    {"app/a.rego": "package app\nok if http.send({\"url\": \"http://127.0.0.1\"}).status_code == 200"},
		"our package":                {"a.rego": "package envoy.authz\nallow := true"},
		"our rule by its whole name": {"a.rego": "package envoy\nauthz.allow := true"},
		"our rules by a variable":    {"a.rego": "package envoy\nauthz[x] := true if some x in [\"allow\"]"},
		"below our root":             {".manifest": `{"roots": ["envoy"]}`, "a.rego": "package envoy.more\nallow := true"},
		"unknown function":           {"app/a.rego": "package app\nok if data.lib.f(1)"},
		"reads the body":             {"app/a.rego": "package app\nok if not input.parsed_body.admin"},
		"our document":               {"data.json": `{"envoy": {"authz": {"allow": true}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := bundletest.Serve(t, archive(t, "ok := true", `{}`))
			f, fetched := fetchers(t)
			e := start(t, inline(usesBundle, from(server)), f)
			until(t, fetched, func(s bundle.State) bool { return s.Uses[0].InForce })
			server.Publish(bundletest.Archive(t, files))
			until(t, fetched, func(s bundle.State) bool { return s.Uses[0].Fault != "" && s.Uses[0].InForce })
			if !allows(t, e, "GET") {
				t.Error("the last good one isn't in force any more")
			}
		})
	}
}

func TestABundleThatNeverFitIsRepairedWithoutARestart(t *testing.T) {
	t.Parallel()
	server := bundletest.Serve(t, archive(t, "other := true", `{}`))
	f, fetched := fetchers(t)
	e := start(t, inline("package envoy.authz\nallow if data.app.ok(1)", from(server)), f)
	until(t, fetched, func(s bundle.State) bool { return s.Uses[0].Fault != "" && !s.Uses[0].InForce })
	server.Publish(archive(t, "ok(x) if x == 1", `{}`))
	until(t, fetched, func(s bundle.State) bool { return s.Uses[0].InForce && s.Uses[0].Fault == "" })
	if !allows(t, e, "GET") {
		t.Error("the repaired bundle isn't in force")
	}
}

func TestBundlesThatCannotBeUsedAreErrors(t *testing.T) {
	t.Parallel()
	f := bundle.NewFetcher(bundle.Options{Offline: true})
	t.Cleanup(f.Close)
	for name, c := range map[string]struct {
		spec *config.OPA
		f    *bundle.Fetcher
	}{
		"no fetcher":  {inline(usesBundle, config.Bundle{URL: "https://bundles.example/a.tar.gz"}), nil},
		"own modules": {inline("package envoy.authz\nallow if {", config.Bundle{URL: "https://bundles.example/a.tar.gz"}), f},
		"second URL":  {inline(usesBundle, config.Bundle{URL: "https://bundles.example/a.tar.gz"}, config.Bundle{URL: "ftp://x"}), f},
	} {
		if _, err := opa.Compile(c.spec, opa.Deps{Policy: "a/b", Bundles: c.f}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if states := f.States(); len(states) != 0 {
		t.Errorf("refused policies still use %+v", states)
	}
	_, err := opa.Compile(inline(usesBundle, config.Bundle{URL: "https://bundles.example/a.tar.gz"}), opa.Deps{Policy: "a/b", Bundles: f})
	if err != nil || errors.Is(err, rego.ErrFault) {
		t.Error(err)
	}
}

// TestBundlesKeepToThemselves: what one publisher has below its roots is nobody else's to add to, under whatever name.
func TestBundlesKeepToThemselves(t *testing.T) {
	t.Parallel()
	rooted := map[string]string{".manifest": `{"roots": ["app", "users"]}`, "app/a.rego": "package app\nok if data.users.mallory", "users/data.json": `{"alice": true}`}
	for name, c := range map[string]struct {
		second map[string]string
		inline string
		good   bool
	}{
		"another package":                  {second: map[string]string{"a.rego": "package more\nok := true", "data.json": `{"other": {"mallory": true}}`}, good: true},
		"a package below a root":           {second: map[string]string{"a.rego": "package app.more\nok := true"}},
		"a rule in a root":                 {second: map[string]string{".manifest": `{"roots": ["users/mallory"]}`, "users/a.rego": "package users\nmallory := true"}},
		"values below a root":              {second: map[string]string{"data.json": `{"users": {"mallory": true}}`}},
		"values further below":             {second: map[string]string{"users/more/data.json": `{"mallory": true}`}},
		"a root below a root":              {second: map[string]string{".manifest": `{"roots": ["users/mallory"]}`, "users/mallory/data.json": `{"a": true}`}},
		"our values below a root":          {inline: `{"users": {"mallory": true}}`},
		"our values beside it":             {inline: `{"others": {"mallory": true}}`, good: true},
		"a rule of ours by its whole name": {second: map[string]string{"a.rego": "package envoy\nauthz.allow := true"}},
		"a package beside ours":            {second: map[string]string{"a.rego": "package envoy.other\nok := true"}, good: true},
		"a function of ours by its name":   {second: map[string]string{"a.rego": "package envoy\nauthz.f(x) := true if x"}},
		"a package below our variable":     {second: map[string]string{"a.rego": "package shelf.places.far.away\nok := true"}},
		"a variable above our package":     {second: map[string]string{"a.rego": "package deep\nfar[x] := true if some x in [\"near\"]"}},
		"a set of ours by its name":        {second: map[string]string{"a.rego": "package envoy\nauthz.roles contains \"admin\""}},
		"names with a variable in a rule":  {second: map[string]string{"a.rego": "package more\nsome_names[x].ok := true if some x in [\"a\"]"}, good: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, fetched := fetchers(t)
			spec := inline(usesBundle, from(bundletest.Serve(t, bundletest.Archive(t, rooted))))
			if c.second != nil {
				spec.Bundles = append(spec.Bundles, from(bundletest.Serve(t, bundletest.Archive(t, c.second))))
			}
			if c.inline != "" {
				spec.Documents = []config.Source{{Inline: c.inline}}
			}
			for _, module := range []string{"package shelf\nplaces[x] := true if some x in [\"near\"]", "package deep.far.away\nok := true"} {
				spec.Modules = append(spec.Modules, config.Module{Name: "m.rego", Source: config.Source{Inline: module}})
			}
			e := start(t, spec, f)
			until(t, fetched, func(s bundle.State) bool { return s.Uses[0].InForce || s.Uses[0].Fault != "" || s.LastError != "" })
			r := exchange.NewRequest(exchange.Head{Method: "GET", Path: "/"}, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil)
			if d, err := e.Decide(t.Context(), r, nil); (err == nil) != c.good || d.Allowed {
				t.Errorf("%v, %v", d.Allowed, err)
			}
		})
	}
}
