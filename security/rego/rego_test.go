package rego_test

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

func spec(module string) *config.OPA {
	return &config.OPA{Timeout: rego.MaxTimeout, Modules: []config.Module{{Name: "m.rego", Source: config.Source{Inline: "package envoy.authz\n" + module}}}}
}

func compile(tb testing.TB, module string) *rego.Policy {
	tb.Helper()
	p, err := rego.Compile(spec(module), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func get(path string) *exchange.Request {
	return exchange.NewRequest(exchange.Head{Method: "GET", Path: path, Time: time.Unix(0, 0)}, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil)
}

func TestBodiesAreAskedForOnlyIfRead(t *testing.T) {
	t.Parallel()
	for module, want := range map[string]bool{
		`allow if input.parsed_body.a`:                                    true,
		`allow if input.attributes.request.http.body == "a"`:              true,
		`allow if { b := input.parsed_body; b.a }`:                        true,
		"import input.parsed_body as b\nallow if b.a":                     true,
		"f(x) if x.parsed_body\nallow if f(input)":                        true,
		`allow if input.attributes.request.http.method == "GET"`:          false,
		`allow if { h := input.attributes.request.http.headers; h["a"] }`: false,
	} {
		o := spec(module)
		o.BodyMaxBytes = 10
		p, err := rego.Compile(o, nil)
		if err != nil {
			t.Fatal(err)
		}
		if limit, reads := p.ReadsBody(); reads != want || limit != 10 {
			t.Errorf("%s: %v %d", module, reads, limit)
		}
	}
}

func TestErrorsTellTheLineAndNothingOfIt(t *testing.T) {
	t.Parallel()
	for _, module := range []string{"allow if {\n  \"hunter2\" == input.x @\n}", "allow if {\n  hunter2(\"swordfish\")\n}", "allow if {\n  http.send({\"url\": \"swordfish\"})\n}"} {
		_, err := rego.Compile(spec(module), nil)
		if err == nil || !strings.Contains(err.Error(), "m.rego:3") || strings.Contains(err.Error(), "swordfish") {
			t.Errorf("%v", err)
		}
	}
}

func TestIdentityOfEachMethod(t *testing.T) {
	t.Parallel()
	basic := &identity.Identity{Method: identity.Basic, Username: "alice"}
	token := &identity.Identity{Method: identity.JWT, Username: "carol", Provider: "idp", Claims: map[string]any{"sub": "carol", "deep": map[string]any{"roles": []any{"a", "b"}}}}
	for expression, caller := range map[string]*identity.Identity{
		`input.identity == {"method": "basic", "username": "alice"}`: basic,
		`not input.identity.claims`:                                  basic,
		`input.identity.provider == "idp"`:                           token,
		`"b" in input.identity.claims.deep.roles`:                    token,
		`input.identity.claims.deep == {"roles": ["a", "b"]}`:        token,
		`count(input.identity.claims) == 2`:                          token,
		`input.identity == {}`:                                       nil,
	} {
		// An identity belongs to one policy, so each gets its own.
		if caller != nil {
			caller = &identity.Identity{Method: caller.Method, Username: caller.Username, Provider: caller.Provider, Claims: caller.Claims}
		}
		p := compile(t, "allow if { "+expression+" }")
		for range 2 {
			if d, err := p.Decide(t.Context(), get("/"), caller); err != nil || !d.Allowed {
				t.Errorf("%s: %v", expression, err)
			}
		}
	}
}

func TestS39DeadlineOfTheCallerCounts(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := compile(t, "allow := true").Decide(ctx, get("/"), nil); !errors.Is(err, rego.ErrTimeout) {
		t.Error(err)
	}
}

func TestUnknownAddressesMatchNothing(t *testing.T) {
	t.Parallel()
	p := compile(t, `allow if net.cidr_contains("0.0.0.0/0", input.attributes.source.address.socketAddress.address)`)
	if _, err := p.Decide(t.Context(), get("/"), nil); !errors.Is(err, rego.ErrUndefined) {
		t.Error(err)
	}
	r := exchange.NewRequest(exchange.Head{}, exchange.Conn{Client: netip.MustParseAddr("::ffff:192.0.2.1")}, exchange.Header{}, exchange.Body{}, nil)
	if d, err := p.Decide(t.Context(), r, nil); err != nil || !d.Allowed {
		t.Error(err)
	}
}

// Whatever an upstream makes of a path that passed "not below /admin" must not be below /admin.
func FuzzS3Paths(f *testing.F) {
	for _, seed := range []string{"/a", "/admin", "//admin", "/a/../admin", "/%2e%2e/admin", "/a%2fadmin", "/..;/admin", `\admin`, "/./admin", "/%61dmin", "/admin;a", "/a?/../admin", "*", "/%", "/0;%", "/a;%2f..%2fadmin"} {
		f.Add(seed)
	}
	p := compile(f, "default allow := false\nallow if { input.parsed_path[0] != \"\"; input.parsed_path[0] != \"admin\" }")
	f.Fuzz(func(t *testing.T, target string) {
		d, err := p.Decide(t.Context(), get(target), nil)
		if err != nil || !d.Allowed {
			return
		}
		raw, _, _ := strings.Cut(target, "?")
		for _, view := range []string{raw, strings.ReplaceAll(raw, `\`, "/")} {
			decoded, err := url.PathUnescape(view)
			if err != nil {
				t.Fatalf("%q passes with a broken escape", target)
			}
			if clean := path.Clean(decoded); clean == "/admin" || strings.HasPrefix(clean, "/admin/") {
				t.Errorf("%q passes and is %s", target, clean)
			}
		}
	})
}
