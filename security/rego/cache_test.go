package rego_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/identity"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

func evaluate(t *testing.T, p *rego.Policy, r *exchange.Request, caller *identity.Identity) rego.Outcome {
	t.Helper()
	o, err := p.Evaluate(t.Context(), r, caller)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestEqualRequestsAreDecidedOnce(t *testing.T) {
	t.Parallel()
	p := compile(t, "default allow := false\nallow if { input.attributes.request.http.method == \"GET\"; input.identity.claims.role == \"reader\" }")
	reader, other := &identity.Identity{Claims: map[string]any{"role": "reader"}}, &identity.Identity{Claims: map[string]any{"role": "guest"}}
	for i, c := range []struct {
		path   string
		caller *identity.Identity
		allow  bool
		cached bool
	}{
		{"/a", reader, true, false},
		{"/b", reader, true, true}, // the path isn't read
		{"/a", other, false, false},
		{"/a", other, false, true},
		{"/a", nil, false, false},
		{"/a", reader, true, true},
	} {
		o := evaluate(t, p, get(c.path), c.caller)
		if o.Decision.Allowed != c.allow || o.Cached != c.cached {
			t.Errorf("%d: %+v", i, o)
		}
	}
}

// What one request's verdict becomes mustn't show in another's.
func TestRememberedDecisionsAreEachRequestsOwn(t *testing.T) {
	t.Parallel()
	p := compile(t, `allow := {"allowed": true, "headers": {"x-a": ["1", "2"]}, "response_headers_to_add": {"x-b": "3"}, "request_headers_to_remove": ["x-c"], "dynamic_metadata": {"a": 1}}`)
	for range 3 {
		d := evaluate(t, p, get("/"), nil).Decision
		if got := fmt.Sprint(d.Headers, d.ResponseHeaders, d.Remove, d.Metadata); got != "[{x-a 1} {x-a 2}] [{x-b 3}] [x-c] map[a:1]" {
			t.Fatal(got)
		}
		d.Headers[0].Value, d.ResponseHeaders[0].Value, d.Remove[0] = "changed", "changed", "changed"
		d.Metadata["b"] = 2
	}
}

func TestDecisionsAreBounded(t *testing.T) {
	t.Parallel()
	p := compile(t, `default allow := false
allow if input.attributes.request.http.path == "/1"`)
	for i := range 6000 {
		if evaluate(t, p, get(fmt.Sprintf("/%d", i)), nil).Decision.Allowed != (i == 1) {
			t.Fatal(i)
		}
	}
	kept := 0
	for i := range 6000 {
		if o := evaluate(t, p, get(fmt.Sprintf("/%d", i)), nil); o.Cached {
			kept++
		}
	}
	if kept == 0 || kept > 4096 {
		t.Errorf("%d decisions are kept", kept)
	}
	long := "/" + strings.Repeat("a", 3000)
	evaluate(t, p, get(long), nil)
	if evaluate(t, p, get(long), nil).Cached {
		t.Error("a long key is kept")
	}
}

// A part that isn't read may still deny: what isn't UTF-8 is no request to decide about, equal or not.
func TestS19RememberedDecisionsAreForSoundRequests(t *testing.T) {
	t.Parallel()
	p := compile(t, `default allow := false
allow if input.attributes.request.http.method == "GET"`)
	evaluate(t, p, get("/"), nil)
	for name, head := range map[string]exchange.Head{
		"path": {Method: "GET", Path: "/\xff"}, "host": {Method: "GET", Path: "/", Authority: "\xff"}, "method": {Method: "GET\xff", Path: "/"},
	} {
		if o, err := p.Evaluate(t.Context(), exchange.NewRequest(head, exchange.Conn{}, exchange.Header{}, exchange.Body{}, nil), nil); err == nil {
			t.Errorf("%s: %+v", name, o)
		}
	}
}
