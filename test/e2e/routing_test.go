package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// rule is an HTTPRoute "name" with hostnames and one rule, as YAML indented by two.
func route(name, hostnames, rule string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s}
spec:
  parentRefs: [{name: gw}]
  hostnames: [%s]
  rules:
  - %s
`, name, hostnames, strings.ReplaceAll(strings.TrimSpace(rule), "\n", "\n    "))
}

func to(backend string) string {
	return "backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: " + backend + "}]"
}

func TestMatches(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := []string{gatewayManifest(port), backendManifest("b", backend.Port)}
	// Each rule tells its name in a header to the backend.
	rules := map[string]string{
		"exact":         "matches: [{path: {type: Exact, value: /exact}}]",
		"prefix":        "matches: [{path: {type: PathPrefix, value: /prefix/}}]",
		"longer":        "matches: [{path: {type: PathPrefix, value: /prefix/longer}}]",
		"regex":         `matches: [{path: {type: RegularExpression, value: "/re/[0-9]+"}}]`,
		"bigregex":      `matches: [{path: {type: RegularExpression, value: "/[a-z0-9-]{1,63}/[a-z0-9-]{1,63}/big"}}]`,
		"method":        "matches: [{path: {value: /m}, method: POST}]",
		"nomethod":      "matches: [{path: {value: /m}}]",
		"header":        "matches: [{path: {value: /h}, headers: [{name: X-Kind, value: a}]}]",
		"headerregex":   `matches: [{path: {value: /h}, headers: [{name: x-kind, type: RegularExpression, value: "[bc]+"}]}]`,
		"twoheaders":    "matches: [{path: {value: /h}, headers: [{name: x-kind, value: a}, {name: x-more, value: \"1\"}]}]",
		"query":         "matches: [{path: {value: /q}, queryParams: [{name: v, value: \"2\"}]}]",
		"repeated":      `matches: [{path: {value: /rep}, headers: [{name: x-a, value: "1"}, {name: X-A, value: "2"}], queryParams: [{name: v, value: "1"}, {name: v, value: "2"}]}]`,
		"any":           "matches: [{path: {value: /or1}}, {path: {value: /or2}}]",
		"everything":    "",
		"hosted":        "matches: [{path: {value: /host}}]",
		"hostedby-star": "matches: [{path: {value: /host}}]",
	}
	for name, matches := range rules {
		hosts := ""
		switch name {
		case "hosted":
			hosts = "a.example"
		case "hostedby-star":
			hosts = "\"*.example\""
		}
		filter := "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-rule, value: " + name + "}]}}]"
		manifests = append(manifests, route(name, hosts, strings.TrimSpace(filter+"\n"+matches)+"\n"+to("b")))
	}
	gatewaytest.Start(t, all(manifests...))
	for _, test := range []struct {
		method, path string
		header       []string
		want         string // the rule; "" is 404
	}{
		{"GET", "/exact", nil, "exact"},
		{"GET", "/exact/", nil, "everything"},
		{"GET", "/exact?x=1", nil, "exact"},
		{"GET", "/prefix", nil, "prefix"},
		{"GET", "/prefix/x", nil, "prefix"},
		{"GET", "/prefixed", nil, "everything"},
		{"GET", "/prefix/longer/x", nil, "longer"},
		{"GET", "/prefix/longerx", nil, "prefix"},
		{"GET", "/re/42", nil, "regex"},
		{"GET", "/re/42/x", nil, "everything"},
		{"GET", "/abc/d-e/big", nil, "bigregex"},
		{"POST", "/m", nil, "method"},
		{"GET", "/m", nil, "nomethod"},
		{"GET", "/h", []string{"x-kind: a"}, "header"},
		{"GET", "/h", []string{"x-kind: a", "x-more: 1"}, "twoheaders"},
		{"GET", "/h", []string{"x-kind: bcb"}, "headerregex"},
		{"GET", "/h", []string{"x-kind: bcbz"}, "everything"},
		{"GET", "/q?v=2", nil, "query"},
		{"GET", "/q?v=3", nil, "everything"},
		{"GET", "/rep?v=1", []string{"x-a: 1"}, "repeated"},
		{"GET", "/or1", nil, "any"},
		{"GET", "/or2/x", nil, "any"},
		{"GET", "/host", []string{"Host: a.example"}, "hosted"},
		{"GET", "/host", []string{"Host: A.example:1234"}, "hosted"},
		{"GET", "/host", []string{"Host: b.c.example"}, "hostedby-star"},
		{"GET", "/other", []string{"Host: a.example"}, ""},
		{"GET", "/host", []string{"Host: example"}, "everything"},
	} {
		a := gatewaytest.Send(t, test.method, at(port, test.path), test.header...)
		if got := a.Seen.Header.Get("x-rule"); got != test.want || (a.Status == http.StatusNotFound) != (test.want == "") {
			t.Errorf("%s %s %q: %d by rule %q, want %q", test.method, test.path, test.header, a.Status, got, test.want)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	modify := func(kind, field, spec string) string {
		return "filters: [{type: " + kind + ", " + field + ": " + spec + "}]\n"
	}
	path := func(p string) string { return "matches: [{path: {value: " + p + "}}]\n" }
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", backend.Port),
		route("request", "", path("/request")+modify("RequestHeaderModifier", "requestHeaderModifier",
			"{set: [{name: x-set, value: 100%}], add: [{name: x-add, value: b}], remove: [x-gone]}")+to("b")),
		route("response", "", path("/response")+modify("ResponseHeaderModifier", "responseHeaderModifier",
			"{set: [{name: content-type, value: text/x}], add: [{name: x-new, value: \"1\"}], remove: [date]}")+to("b")),
		route("redirect", "", path("/redirect")+modify("RequestRedirect", "requestRedirect",
			"{scheme: https, hostname: new.example, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /to}}")),
		route("redirect-full", "", path("/full")+modify("RequestRedirect", "requestRedirect",
			"{hostname: new.example, port: 8443, path: {type: ReplaceFullPath, replaceFullPath: /elsewhere}}")),
		route("rewrite", "", path("/rewrite")+modify("URLRewrite", "urlRewrite",
			"{hostname: inner.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}")+to("b")),
		route("rewrite-full", "", path("/whole")+modify("URLRewrite", "urlRewrite",
			`{path: {type: ReplaceFullPath, replaceFullPath: "/a\\1b"}}`)+to("b")),
		route("rewrite-prefix", "", path("/old")+modify("URLRewrite", "urlRewrite",
			"{path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}")+to("b")),
		route("unsupported", "", path("/extension")+modify("ExtensionRef", "extensionRef",
			"{group: example.com, kind: Filter, name: f}")+to("b")),
	))
	a := gatewaytest.Get(t, at(port, "/request"), "x-set: a", "x-add: a", "x-gone: a")
	if h := a.Seen.Header; fmt.Sprint(h["X-Set"], h["X-Add"], h["X-Gone"]) != "[100%] [a b] []" && fmt.Sprint(h["X-Set"], h["X-Add"], h["X-Gone"]) != "[100%] [a,b] []" {
		t.Errorf("request headers: set %q, add %q, removed %q", h["X-Set"], h["X-Add"], h["X-Gone"])
	}
	a = gatewaytest.Get(t, at(port, "/response"))
	if h := a.Header; fmt.Sprint(h["Content-Type"], h["X-New"]) != "[text/x] [1]" {
		t.Errorf("response headers: %q %q", h["Content-Type"], h["X-New"])
	}
	for path, want := range map[string]string{
		"/redirect/x?y=1": "301 https://new.example/to/x?y=1",
		"/full/x":         "302 http://new.example:8443/elsewhere",
	} {
		a := gatewaytest.Get(t, at(port, path))
		if got := fmt.Sprint(a.Status, " ", a.Header.Get("Location")); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"/rewrite":          "inner.example/",
		"/rewrite/x?y":      "inner.example/x?y",
		"/whole/x/y?z":      fmt.Sprintf(`127.0.0.1:%d/a\1b?z`, port),
		"/old/x":            fmt.Sprintf("127.0.0.1:%d/new/x", port),
		"/old":              fmt.Sprintf("127.0.0.1:%d/new", port),
		"/request/../old/y": fmt.Sprintf("127.0.0.1:%d/new/y", port),
	} {
		if a := gatewaytest.Get(t, at(port, path)); a.Seen.Host+a.Seen.Path != want {
			t.Errorf("%s: backend saw %s%s, want %s (%d)", path, a.Seen.Host, a.Seen.Path, want, a.Status)
		}
	}
	if a := gatewaytest.Get(t, at(port, "/extension")); a.Status != http.StatusInternalServerError {
		t.Errorf("a filter that isn't supported: %d, want 500", a.Status)
	}
}

func TestBackends(t *testing.T) {
	t.Parallel()
	one, two, port := gatewaytest.NewBackend(t, "one"), gatewaytest.NewBackend(t, "two"), freePort(t)
	service := func(name, spec string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: %s\n", name, spec)
	}
	ports := fmt.Sprintf("ports: [{name: http, port: %d}]", one.Port)
	slice := fmt.Sprintf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: sliced-1, labels: {kubernetes.io/service-name: sliced}}
addressType: IPv4
ports: [{name: http, port: %d}]
endpoints:
- {addresses: [127.0.0.1]}
- {addresses: [127.0.0.2], conditions: {ready: false}}
`, one.Port)
	ref := func(name string) string { return fmt.Sprintf("backendRefs: [{name: %s, port: %d}]", name, one.Port) }
	path := func(p string) string { return "matches: [{path: {value: " + p + "}}]\n" }
	g := gatewaytest.Start(t, map[string]string{"slice.yaml": slice, "all.yaml": strings.Join([]string{
		gatewayManifest(port), backendManifest("one", one.Port), backendManifest("two", two.Port), backendManifest("nobody", freePort(t)),
		service("cluster-ip", "{clusterIP: 127.0.0.1, "+ports+"}"),
		service("external", "{type: ExternalName, externalName: localhost, "+ports+"}"),
		service("sliced", "{clusterIP: 127.0.0.9, ports: [{name: http, port: 80}]}"),
		service("empty", "{"+ports+"}"),
		route("ip", "", path("/ip")+ref("cluster-ip")),
		route("name", "", path("/name")+ref("external")),
		route("slice", "", path("/slice")+"backendRefs: [{name: sliced, port: 80}]"),
		route("none", "", path("/none")+ref("missing")),
		route("noport", "", path("/noport")+"backendRefs: [{name: cluster-ip, port: 1}]"),
		route("empty", "", path("/empty")+ref("empty")),
		route("nothing", "", path("/nothing")+"timeouts: {}"),
		route("foreign", "", path("/foreign")+fmt.Sprintf("backendRefs: [{name: cluster-ip, namespace: other, port: %d}]", one.Port)),
		route("weights", "", path("/weights")+`backendRefs:
- {group: gateway.envoyproxy.io, kind: Backend, name: one, weight: 3}
- {group: gateway.envoyproxy.io, kind: Backend, name: two, weight: 1}
- {group: gateway.envoyproxy.io, kind: Backend, name: nobody, weight: 0}`),
		route("half", "", path("/half")+`backendRefs:
- {group: gateway.envoyproxy.io, kind: Backend, name: one, weight: 1}
- {group: gateway.envoyproxy.io, kind: Backend, name: missing, weight: 1}`),
	}, "\n---\n")})
	for path, want := range map[string]int{
		"/ip": 200, "/name": 200, "/slice": 200,
		"/none": 500, "/noport": 500, "/foreign": 500, "/nothing": 500, "/empty": 503,
	} {
		if a := gatewaytest.Get(t, at(port, path)); a.Status != want {
			t.Errorf("%s: %d, want %d", path, a.Status, want)
		}
	}
	count := map[string]int{}
	for range 200 {
		count[gatewaytest.Get(t, at(port, "/weights")).Seen.Backend]++
		count[fmt.Sprint(gatewaytest.Get(t, at(port, "/half")).Status)]++
	}
	if count["two"] < 20 || count["two"] > 90 || count["one"] == 0 || count[""] > 0 {
		t.Errorf("weights 3:1 over 200 requests: %v", count)
	}
	if count["500"] < 60 || count["500"] > 140 || count["200"]+count["500"] != 200 {
		t.Errorf("half of the weight to a missing backend: %v", count)
	}
	// Endpoints move without touching clusters or routes.
	g.Write(t, "slice.yaml", strings.Replace(slice, itoa(one.Port), itoa(two.Port), 1))
	gatewaytest.Eventually(t, "moved endpoint", func() error {
		if got := gatewaytest.Get(t, at(port, "/slice")).Seen.Backend; got != "two" {
			return fmt.Errorf("answered by %q", got)
		}
		return nil
	})
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	slow, port := gatewaytest.NewBackend(t, "slow"), freePort(t)
	gatewaytest.Start(t, all(gatewayManifest(port), backendManifest("b", slow.Port),
		route("limited", "", "matches: [{path: {value: /limited}}]\ntimeouts: {request: 5s, backendRequest: 200ms}\n"+to("b")),
		route("free", "", "matches: [{path: {value: /free}}]\ntimeouts: {request: 0s}\n"+to("b"))))
	start := time.Now()
	if a := gatewaytest.Get(t, at(port, "/limited"), "x-want-delay: 3s"); a.Status != http.StatusGatewayTimeout || time.Since(start) > 2500*time.Millisecond {
		t.Errorf("slow backend: %d after %v, want 504 after 200 ms", a.Status, time.Since(start))
	}
	if a := gatewaytest.Get(t, at(port, "/free"), "x-want-delay: 300ms"); a.Status != http.StatusOK {
		t.Errorf("without a limit: %d, want 200", a.Status)
	}
}

func TestHTTPS(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	a, b := gatewaytest.NewCertificate(t, "a.example"), gatewaytest.NewCertificate(t, "*.b.example")
	gateway := fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: gatehouse
  addresses: [{type: IPAddress, value: 127.0.0.1}]
  listeners:
  - {name: a, port: %[1]d, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: [{name: a}]}}
  - {name: b, port: %[1]d, protocol: HTTPS, hostname: "*.b.example", tls: {certificateRefs: [{name: b}]}}
  - {name: c, port: %[1]d, protocol: HTTPS, hostname: c.example, tls: {certificateRefs: [{name: missing}]}}
`, port)
	g := gatewaytest.Start(t, map[string]string{"all.yaml": strings.Join([]string{gateway, backendManifest("b", backend.Port),
		route("everywhere", "", to("b"))}, "\n---\n"), "a.yaml": a.Secret("a"), "b.yaml": b.Secret("b")})
	for host, certificate := range map[string]*gatewaytest.Certificate{"a.example": a, "x.b.example": b} {
		if status, err := getTLS(port, host, certificate); err != nil || status != 200 {
			t.Errorf("%s: %d %v", host, status, err)
		}
	}
	for _, host := range []string{"c.example", "unknown.example"} {
		if status, err := getTLS(port, host, a); err == nil {
			t.Errorf("%s: %d, want no handshake", host, status)
		}
	}
	renewed := gatewaytest.NewCertificate(t, "a.example")
	g.Write(t, "a.yaml", renewed.Secret("a"))
	gatewaytest.Eventually(t, "renewed certificate", func() error {
		_, err := getTLS(port, "a.example", renewed)
		return err
	})
	if n := g.Stat(t, "listener_manager.listener_modified"); n != 0 {
		t.Errorf("a renewed certificate modified %d listeners", n)
	}
}

func getTLS(port int, host string, certificate *gatewaytest.Certificate) (int, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate.Chain)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: host},
	}}
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/", port), nil)
	if err != nil {
		return 0, err
	}
	request.Host = host
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}
