package rego_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/rego"
)

// FuzzInput builds inputs of any bytes: no panic, an error of this package's or a decision, and the same
// one from a policy that remembers others' decisions as from one that has seen nothing.
func FuzzInput(f *testing.F) {
	f.Add("GET", "/a?b=c", "h", "x-a: b\ncookie: c=d", `{"a": 1}`)
	f.Add("POST", "//a/..;/%2e%2e?%zz", "\xff", "x-a: \xff\nX-A: b\nx-a: ", `{"a": {"a": [1e9]}`)
	f.Add("", "*", "", "content-type: application/x-www-form-urlencoded", "a=b&a=%zz")
	const module = `default allow := false
allow if { input.parsed_path[0] == "a"; input.parsed_query.b[0] == "c" }
allow if { startswith(input.attributes.request.http.headers["x-a"], "b"); input.attributes.request.http.host == "h" }
allow if { input.attributes.source.address.socketAddress.address; input.attributes.request.http.method != "GET" }`
	remembering := compile(f, module)
	reading := func() *rego.Policy {
		o := spec("default allow := false\nallow if input.parsed_body.a\nallow if contains(input.attributes.request.http.body, \"a\")")
		o.BodyMaxBytes = 4096
		p, err := rego.Compile(o, config.Data{})
		if err != nil {
			f.Fatal(err)
		}
		return p
	}()
	f.Fuzz(func(t *testing.T, method, path, host, lines, body string) {
		fields := []exchange.Field{{Name: "content-type", Value: "application/json"}}
		for line := range strings.SplitSeq(lines, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			fields = append(fields, exchange.Field{Name: name, Value: value})
		}
		r := exchange.NewRequest(exchange.Head{Method: method, Path: path, Authority: host, Size: int64(len(body))}, exchange.Conn{}, exchange.NewHeader(fields...), exchange.BufferedBody([]byte(body), false), nil)
		for range 2 {
			got, err := remembering.Evaluate(t.Context(), r, nil)
			want, wantErr := compile(t, module).Evaluate(t.Context(), r, nil)
			if got.Decision.Allowed != want.Decision.Allowed || !errors.Is(err, wantErr) || err == nil && got.Input.Compare(want.Input) != 0 {
				t.Errorf("%+v (%v) with a memory, %+v (%v) without", got, err, want, wantErr)
			}
		}
		if d, err := reading.Decide(t.Context(), r, nil); err == nil && d.Allowed && !strings.Contains(body, "a") && !strings.Contains(body, `\u`) && !strings.Contains(body, "%") {
			t.Errorf("allowed by the body %q", body)
		}
	})
}
