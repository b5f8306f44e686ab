package policy_test

import (
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/exchange"
	"github.com/gatehouse-proxy/gatehouse/security/config"
	"github.com/gatehouse-proxy/gatehouse/security/policy"
)

// rego is a module of package envoy.authz.
func rego(text string) *config.OPA {
	return &config.OPA{Modules: []config.Module{{Name: "policy.rego", Source: config.Source{Inline: "package envoy.authz\n" + text}}}}
}

const minimal = `default allow := false
allow if { input.attributes.request.http.method == "GET"; input.identity.claims.sub == "carol" }`

func TestRegoDecidesWithIdentity(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t), OPA: rego(minimal)})
	for name, c := range map[string]struct {
		line  string
		lines []string
		want  int
	}{
		"allowed":       {"GET /", bearer(token(t, nil)), 200},
		"other method":  {"POST /", bearer(token(t, nil)), 403},
		"other subject": {"GET /", bearer(token(t, map[string]any{"sub": "eve"})), 403},
		"no token":      {"GET /", nil, 401},
	} {
		for range 2 {
			if v := check(t, p, request(c.line, c.lines...)); status(v) != c.want {
				t.Errorf("%s: %d (%s)", name, status(v), v.Reason)
			}
		}
	}
}

func TestS39EveryDoubtOfRegoDenies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		module string
		want   int
	}{
		"true":             {`allow := true`, 200},
		"false":            {`allow := false`, 403},
		"undefined":        {`allow if input.nothing`, 403},
		"string":           {`allow := "true"`, 503},
		"number":           {`allow := 1`, 503},
		"null":             {`allow := null`, 503},
		"builtin error":    {`allow if { not json.unmarshal("{") }`, 503},
		"division by zero": {`allow if { not 1 / input.parsed_query.z[0] } else := true if { 1/0 }`, 503},
		"conflict":         {"allow := true if input.attributes\nallow := false if input.attributes", 503},
		"empty object":     {`allow := {}`, 503},
		"allowed a string": {`allow := {"allowed": "true"}`, 503},
		"object":           {`allow := {"allowed": true}`, 200},
		"bad header":       {`allow := {"allowed": true, "headers": {"x-a": "a\r\nx-b: c"}}`, 503},
		"bad header name":  {`allow := {"allowed": true, "headers": {":path": "/admin"}}`, 503},
		"framing header":   {`allow := {"allowed": true, "headers": {"Content-Length": "0"}}`, 503},
		"bad status":       {`allow := {"allowed": false, "http_status": 1000}`, 503},
		"odd removals":     {`allow := {"allowed": true, "request_headers_to_remove": [1]}`, 503},
		"bad metadata":     {`allow := {"allowed": true, "dynamic_metadata": [1]}`, 503},
	} {
		p := compile(t, &config.Policy{OPA: rego(c.module)})
		if v := check(t, p, request("GET /")); status(v) != c.want {
			t.Errorf("%s: %d (%s), want %d", name, status(v), v.Reason, c.want)
		}
	}
}

func TestRegoShapesTheAnswer(t *testing.T) {
	t.Parallel()
	p := compile(t, &config.Policy{JWT: withJWT(t), Strip: []string{"x-team"}, OPA: rego(`
allow := {"allowed": true, "headers": {"X-User": "rego", "x-list": ["a", "b"]}, "response_headers_to_add": {"x-seen": "1"},
	"request_headers_to_remove": ["X-Debug", "x-list"], "dynamic_metadata": {"idp": "forged", "score": 7}} if input.parsed_path == ["ok"]
else := {"allowed": false, "http_status": 402, "body": "pay", "headers": {"x-why": "money"}}`)})
	v := check(t, p, request("GET /ok", append(bearer(token(t, nil)), "x-team", "root")...))
	var set []string
	for _, f := range v.Set {
		set = append(set, f.Name+"="+f.Value)
	}
	if got := strings.Join(set, " "); got != "X-User=rego x-list=a x-list=b" {
		t.Errorf("set %s", got)
	}
	if got := strings.Join(v.Remove, " "); got != "x-team x_team x_user x-debug" {
		t.Errorf("remove %s", got)
	}
	if len(v.ResponseSet) != 1 || v.Metadata["score"] != 7.0 || v.Metadata["idp"] == "forged" {
		t.Errorf("response %v metadata %v", v.ResponseSet, v.Metadata)
	}
	v = check(t, p, request("GET /no", bearer(token(t, nil))...))
	if status(v) != 402 || string(v.Reply.Body) != "pay" || v.Reply.Header.Get("X-Why") != "money" {
		t.Errorf("%d %q %v", status(v), v.Reply.Body, v.Reply.Header)
	}
}

// seen compiles a policy that allows if the expression holds.
func seen(t *testing.T, expression string) *policy.Policy {
	return compile(t, &config.Policy{OPA: rego("default allow := false\nallow if {\n" + expression + "\n}")})
}

func TestRegoInputIsEnvoysShape(t *testing.T) {
	t.Parallel()
	head := exchange.Head{
		Method: "POST", Path: "/a/b%20c;v=1//d?x=1&x=2&y=%26", Authority: "api.example:8443", Scheme: "https", Protocol: "HTTP/2",
		ID: "id-1", Size: 3, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	conn := exchange.Conn{
		Client: netip.MustParseAddr("198.51.100.9"), Peer: netip.MustParseAddrPort("10.0.0.1:99"), Destination: netip.MustParseAddrPort("10.0.0.2:443"),
		Principal: "spiffe://a", ServerName: "sni.example",
	}
	header := []exchange.Field{{Name: "X-A", Value: "1"}, {Name: "x-a", Value: "2"}, {Name: "Cookie", Value: "a=1"}, {Name: "cookie", Value: "b=2"}, {Name: "Content-Type", Value: "text/plain"}}
	for _, expression := range []string{
		`input.attributes.request.http.method == "POST"`, `input.attributes.request.http.host == "api.example:8443"`,
		`input.attributes.request.http.scheme == "https"`, `input.attributes.request.http.protocol == "HTTP/2"`, `input.attributes.request.http.id == "id-1"`,
		`input.attributes.request.http.path == "/a/b%20c;v=1//d?x=1&x=2&y=%26"`, `input.attributes.request.http.size == 3`,
		`input.attributes.request.http.headers["x-a"] == "1,2"`, `input.attributes.request.http.headers.cookie == "a=1; b=2"`,
		`input.attributes.request.http.headers[":authority"] == "api.example:8443"`, `not input.attributes.request.http.headers["X-A"]`,
		`h := input.attributes.request.http.headers; count(h) == 7`, `some name, value in input.attributes.request.http.headers; name == "x-a"; value == "1,2"`,
		`input.attributes.request.time == "2026-01-02T03:04:05Z"`, `time.parse_rfc3339_ns(input.attributes.request.time) > 0`,
		`input.attributes.source.address.socketAddress.address == "198.51.100.9"`, `not input.attributes.source.address.socketAddress.portValue`,
		`input.attributes.source.principal == "spiffe://a"`, `input.attributes.destination.address.socketAddress.portValue == 443`,
		`input.peer == {"address": "10.0.0.1", "port": 99}`, `input.attributes.contextExtensions.team == "a"`, `input.attributes.tlsSession.sni == "sni.example"`,
		`input.parsed_path == ["a", "b c", "", "d"]`, `input.parsed_query == {"x": ["1", "2"], "y": ["&"]}`, `input.version.ext_authz == "v3"`,
		`input.identity == {}`, `not input.identity.username`, `input.truncated_body == false`,
		`all := input; all.attributes.request.http.method == "POST"; all.parsed_query.x[0] == "1"`,
		`f(input)`, `walk(input, [["parsed_path", 0], "a"])`, `object.get(input, ["attributes", "request", "http", "method"], "") == "POST"`,
		`name := "parsed_path"; input[name][0] == "a"`, `net.cidr_contains("198.51.100.0/24", input.attributes.source.address.socketAddress.address)`,
	} {
		p := compile(t, &config.Policy{OPA: rego("default allow := false\nf(x) if x.attributes.request.http.method == \"POST\"\nallow if {\n" + expression + "\n}")})
		r := exchange.NewRequest(head, conn, exchange.NewHeader(header...), exchange.Body{}, extensions{"team": "a"})
		if v := check(t, p, r); !v.Allow {
			t.Errorf("%s: %s", expression, v.Reason)
		}
	}
}

type extensions map[string]string

func (e extensions) Extension(key string) (string, bool) { value, ok := e[key]; return value, ok }

func (e extensions) Extensions(yield func(key, value string) bool) {
	for key, value := range e {
		if !yield(key, value) {
			return
		}
	}
}

func TestS1S2S3S4S5HostilePathsNeverPassAPathRule(t *testing.T) {
	t.Parallel()
	notAdmin := seen(t, `input.parsed_path[0] != "admin"`)
	for path, want := range map[string]int{
		"/public": 200, "/public/x?y=/admin": 200, "/public%3Fx": 200, "//admin": 200, "/a:b@c": 200, "/100%25": 200,
		"/admin": 403, "/admin/x": 403, "/admin;x=1": 403, "/%61dmin": 403, "/admin?x": 403, "/admin%3Fx": 200,
		"/public/../admin": 403, "/public/%2e%2e/admin": 403, "/./admin": 403, "/..;/admin": 403, "/.;/admin": 403, "/%2e%2e;x/admin": 403, "/..%3b/admin": 403,
		`/public\..\admin`: 403, "/public%5Cadmin": 403, "/public%2fadmin": 403, "/public%2F..%2Fadmin": 403, "/public#/admin": 403, "/%zz": 403, "/%": 403,
		"/a;%2f..%2fadmin": 403, "/a;%": 403, "/;/admin": 403, "/;x=1/admin": 403, "/%3b/admin": 403, "/x/;/../admin": 403, "/public/;jsessionid=1": 200, "/public;a/x": 200,
		"": 403, "*": 403, "public": 403, "http://evil/public": 403, "/%00": 403, "/%ff": 403, "/%0d%0a": 403,
	} {
		if v := check(t, notAdmin, request("GET "+path)); status(v) != want {
			t.Errorf("%q: %d (%s), want %d", path, status(v), v.Reason, want)
		}
	}
}

func TestS12S19RegoSeesEveryHeaderValue(t *testing.T) {
	t.Parallel()
	p := seen(t, `not contains(input.attributes.request.http.headers["x-role"], "admin")`)
	for name, c := range map[string]struct {
		lines []string
		want  int
	}{
		"one":       {[]string{"x-role", "user"}, 200},
		"second":    {[]string{"x-role", "user", "X-Role", "admin"}, 403},
		"joined":    {[]string{"x-role", "user,admin"}, 403},
		"not UTF-8": {[]string{"x-role", "user\xff"}, 403},
		"not read":  {[]string{"x-role", "user", "x-other", "\xff"}, 200},
		"not there": {nil, 403},
	} {
		if v := check(t, p, request("GET /", c.lines...)); status(v) != c.want {
			t.Errorf("%s: %d (%s)", name, status(v), v.Reason)
		}
	}
}

func TestS41RegoCannotReachOut(t *testing.T) {
	t.Parallel()
	for _, expression := range []string{
		`http.send({"method": "GET", "url": "http://127.0.0.1"})`, `net.lookup_ip_addr("example.com")`, `opa.runtime().env.HOME`,
		`rego.parse_module("a", "package a")`, `json.match_schema({}, {"$ref": "http://127.0.0.1/"})`, `json.verify_schema({"$ref": "http://127.0.0.1/"})`,
		`providers.aws.sign_req({}, {}, 1)`, `strings.render_template("{{.a}}", {"a": 1})`, `x := http.send with input as {}`,
	} {
		denies(t, expression, &config.Policy{OPA: rego("default allow := false\nallow if { " + expression + " }")}, "")
	}
	for _, expression := range []string{`print("x")`, `time.now_ns() > 0`, `regex.match("^a", "a")`, `io.jwt.decode("a.b.c")`} {
		compile(t, &config.Policy{OPA: rego("default allow := false\nallow if { " + expression + " }")})
	}
}

func TestS41S43RegoStopsInTime(t *testing.T) {
	t.Parallel()
	doubling := "x00 := concat(\"\", [input.attributes.request.http.host, \"0123456789abcdef0123456789abcdef\"])\n"
	for i := range 26 {
		doubling += "x" + itoa(i+1) + " := concat(\"\", [x" + itoa(i) + ", x" + itoa(i) + "])\n"
	}
	const wide = "\nwide := concat(\"\", [\"éééééééééé\" | some _ in numbers.range(1, 10000)])"
	for name, c := range map[string]struct{ module, reason string }{
		"loop":        {`allow if { some i in numbers.range(1, 20000); some j in numbers.range(1, 20000); i * j == -1 }`, policy.ReasonOPATimeout},
		"doubling":    {doubling + `allow if count(x26) > 0`, ""}, // whichever limit comes first
		"huge range":  {`allow if count(numbers.range(1, 1000000000)) > 0`, policy.ReasonOPAError},
		"replace":     {`allow if count(replace(sprintf("%0999d", [1]), "0", sprintf("%9999d", [1]))) > 0`, policy.ReasonOPAError},
		"huge shift":  {`allow if bits.lsh(1, 400000000) > 0`, policy.ReasonOPAError},
		"deep query":  {`allow if graphql.parse_query(concat("", [c | some i in numbers.range(1, 50000); c := "{a"]))`, policy.ReasonOPAError},
		"pattern":     {`allow if regex.match(concat("", [c | some i in numbers.range(1, 20000); c := "(a"]), "a")`, policy.ReasonOPAError},
		"paths":       {`allow if count(graph.reachable_paths({i: numbers.range(1, 40) | some i in numbers.range(1, 40)}, {1})) > 0`, policy.ReasonOPAError},
		"a long path": {`allow if count(graph.reachable_paths({i: [i + 1] | some i in numbers.range(1, 9000)}, [1])) > 0`, policy.ReasonOPAError},
		"networks":    {`allow if count(net.cidr_contains_matches(["10.0.0.0/8" | some _ in numbers.range(1, 5000)], ["11.0.0.1" | some _ in numbers.range(1, 5000)])) > 0`, policy.ReasonOPAError},
		"search":      {`allow if indexof(wide, concat("", [substring(wide, 0, 50000), "b"])) > 0` + wide, policy.ReasonOPAError},
		"searches":    {`allow if count(indexof_n(wide, concat("", [substring(wide, 0, 50000), "b"]))) > 0` + wide, policy.ReasonOPAError},
		"trimming":    {`allow if trim(wide, concat("", [replace(wide, "é", "è"), "é"])) == ""` + wide, policy.ReasonOPAError},
		"parts":       {`allow if object.subset([k | some k in numbers.range(1, 9000)], [k | some k in numbers.range(2, 9000)])`, policy.ReasonOPAError},
		"huge format": {`allow if count(sprintf("%999999d", [1])) > 0`, policy.ReasonOPAError},
	} {
		o := rego(c.module)
		if name != "loop" {
			o.Timeout = time.Second // the sizes must be what stops these
		}
		p := compile(t, &config.Policy{OPA: o})
		start := time.Now()
		v := check(t, p, request("GET /"))
		if status(v) != 503 || c.reason != "" && v.Reason != c.reason {
			t.Errorf("%s: %d %s", name, status(v), v.Reason)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

func itoa(n int) string { return string(rune('0'+n/10)) + string(rune('0'+n%10)) }

func TestS46BodyRulesSeeWholeBodiesOrDeny(t *testing.T) {
	t.Parallel()
	o := rego("default allow := false\nallow if not input.parsed_body.admin")
	o.BodyMaxBytes = 100
	p := compile(t, &config.Policy{OPA: o})
	json := []string{"content-type", "application/json; charset=utf-8"}
	for name, c := range map[string]struct {
		line  string
		lines []string
		body  exchange.Body
		size  int64
		want  int
	}{
		"harmless":          {"POST /", json, exchange.BufferedBody([]byte(`{"a":1}`), false), 7, 200},
		"admin":             {"POST /", json, exchange.BufferedBody([]byte(`{"admin":true}`), false), 14, 403},
		"partial":           {"POST /", json, exchange.BufferedBody([]byte(`{"a":1}`), true), 700, 413},
		"too long":          {"POST /", json, exchange.BufferedBody([]byte(`{"a":"`+strings.Repeat("a", 200)+`"}`), false), 208, 413},
		"malformed":         {"POST /", json, exchange.BufferedBody([]byte(`{"a":1`), false), 6, 403},
		"two values":        {"POST /", json, exchange.BufferedBody([]byte(`{}{"admin":1}`), false), 13, 403},
		"duplicate":         {"POST /", json, exchange.BufferedBody([]byte(`{"a":1,"a":2}`), false), 13, 403},
		"huge number":       {"POST /", json, exchange.BufferedBody([]byte(`{"a":1e999999999}`), false), 17, 403},
		"deep":              {"POST /", json, exchange.BufferedBody([]byte(strings.Repeat("[", 99)), false), 99, 403},
		"not sent":          {"POST /", json, exchange.Body{}, 7, 503},
		"not sent, chunked": {"POST /", json, exchange.Body{}, -1, 503},
		"none":              {"POST /", json, exchange.BufferedBody(nil, false), 0, 200},
		"GET without one":   {"GET /", nil, exchange.Body{}, -1, 200},
		"two content types": {"POST /", append(json, "content-type", "text/plain"), exchange.BufferedBody([]byte(`{"a":1}`), false), 7, 403},
		"UTF-8, otherwise":  {"POST /", []string{"content-type", `Application/JSON;Charset="utf8"`}, exchange.BufferedBody([]byte(`{"a":1}`), false), 7, 200},
		"UTF-7":             {"POST /", []string{"content-type", "application/json; charset=utf-7"}, exchange.BufferedBody([]byte(`{"+AGEAZABtAGkAbg-":true}`), false), 24, 403},
		"IBM037":            {"POST /", []string{"content-type", "application/x-www-form-urlencoded; charset=ibm037"}, exchange.BufferedBody([]byte("%81%84%94%89%95=1"), false), 17, 403},
		"compressed":        {"POST /", append(json, "content-encoding", "deflate"), exchange.BufferedBody([]byte(`{"a":1}`), false), 7, 403},
		"said so twice":     {"POST /", append(json, "content-encoding", "identity", "content-encoding", "br"), exchange.BufferedBody([]byte(`{"a":1}`), false), 7, 403},
		"not compressed":    {"POST /", append(json, "content-encoding", "Identity"), exchange.BufferedBody([]byte(`{"a":1}`), false), 7, 200},
		"form":              {"POST /", []string{"content-type", "application/x-www-form-urlencoded"}, exchange.BufferedBody([]byte(`admin=1`), false), 7, 403},
	} {
		plain := request(c.line, c.lines...)
		head := plain.Head()
		head.Size = c.size
		r := exchange.NewRequest(head, plain.Conn(), plain.Header, c.body, nil)
		if v := check(t, p, r); status(v) != c.want {
			t.Errorf("%s: %d (%s), want %d", name, status(v), v.Reason, c.want)
		}
	}
	denies(t, "a body rule without opa.body", &config.Policy{OPA: rego("default allow := false\nallow if not input.parsed_body.admin")}, "")
}

func TestRegoDocumentsAndModules(t *testing.T) {
	t.Parallel()
	o := &config.OPA{
		Modules: []config.Module{
			{Name: "lib.rego", Source: config.Source{Ref: "ConfigMap/a/rules/lib.rego"}},
			{Name: "main.rego", Source: config.Source{Inline: "package app\nimport data.lib\nok if lib.known(input.attributes.request.http.method)"}},
		},
		Documents: []config.Source{{Inline: `{"allowed": {"methods": ["GET"]}}`}, {Inline: "allowed:\n  hosts: [a]\n"}},
		Decision:  "app/ok",
	}
	data := config.Data{"ConfigMap/a/rules/lib.rego": []byte("package lib\nknown(m) if { m in data.allowed.methods; data.allowed.hosts[0] == \"a\" }")}
	p := compile(t, &config.Policy{OPA: o}, func(d *policy.Deps) { d.Data = data })
	if v := check(t, p, request("GET /")); !v.Allow {
		t.Error(v.Reason)
	}
	if v := check(t, p, request("PUT /")); v.Allow {
		t.Error("PUT passes")
	}
	v0 := rego("default allow = false\nallow { input.attributes.request.http.method == \"GET\" }")
	v0.RegoV0 = true
	if v := check(t, compile(t, &config.Policy{OPA: v0}), request("GET /")); !v.Allow {
		t.Error("Rego v0:", v.Reason)
	}
	secret := "s3cr3t"
	for name, broken := range map[string]*config.OPA{
		"syntax":         rego("allow if { x == \"s3cr3t\" "),
		"type":           rego("allow if unknown_function(1)"),
		"no decision":    rego("permit := true"),
		"no module":      {},
		"missing":        {Modules: []config.Module{{Source: config.Source{Ref: "ConfigMap/x"}}}},
		"bad document":   {Modules: rego("allow := true").Modules, Documents: []config.Source{{Inline: "[" + secret}}},
		"same documents": {Modules: rego("allow := true").Modules, Documents: []config.Source{{Inline: `{"a":1}`}, {Inline: `{"a":2}`}}},
		"conflict":       {Modules: rego("allow := true").Modules, Documents: []config.Source{{Inline: `{"envoy":{"authz":{"allow":true}}}`}}},
		"long timeout":   {Modules: rego("allow := true").Modules, Timeout: time.Minute},
		"empty decision": {Modules: rego("allow := true").Modules, Decision: "envoy//allow"},
	} {
		denies(t, name, &config.Policy{OPA: broken}, secret)
	}
}

func TestManyRegoDecisionsAtOnce(t *testing.T) {
	t.Parallel()
	o := rego(`default allow := false
allow if { some role in input.identity.claims.roles; input.attributes.request.http.method in data.roles[role] }`)
	o.Documents = []config.Source{{Inline: `{"roles": {"reader": ["GET", "HEAD"], "writer": ["PUT"]}}`}}
	o.Timeout = time.Second
	p := compile(t, &config.Policy{JWT: withJWT(t), OPA: o})
	line := bearer(token(t, map[string]any{"roles": []string{"guest", "reader"}}))
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			method, want := "GET", true
			if worker%2 == 1 {
				method, want = "PUT", false
			}
			for range 200 {
				v := check(t, p, request(method+" /", line...))
				if v.Allow != want {
					t.Errorf("%s: %v (%s)", method, v.Allow, v.Reason)
				}
				if v.Allow { // as a wrapper adds its own entry
					v.Metadata = maps.Clone(v.Metadata)
					v.Metadata["host"] = worker
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkMinimalRego(b *testing.B) {
	p := compile(b, &config.Policy{JWT: withJWT(b), OPA: rego(minimal)})
	lines := bearer(token(b, nil))
	benchmark(b, p, []exchange.Field{{Name: lines[0], Value: lines[1]}})
}
