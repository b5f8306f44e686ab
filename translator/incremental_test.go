package translator_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
	"github.com/gatehouse-proxy/gatehouse/internal/source/files"
	"github.com/gatehouse-proxy/gatehouse/translator"
	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

// editor is a directory of manifests under random edits.
type editor struct {
	dir         string
	random      *rand.Rand
	source      *files.Source
	certificate string // a Secret
}

func newEditor(t testing.TB, seed uint64) *editor {
	t.Helper()
	dir := t.TempDir()
	source, err := files.New([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	return &editor{dir: dir, random: rand.New(rand.NewPCG(seed, 0)), source: source, certificate: gatewaytest.NewCertificate(t, "a.example").Secret("cert")}
}

func (e *editor) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(e.dir, name+".yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (e *editor) load(t testing.TB) *resource.Set {
	t.Helper()
	set, _, err := e.source.Load()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// pick returns one of the choices.
func (e *editor) pick(choices ...string) string { return choices[e.random.IntN(len(choices))] }

// edit writes or deletes one object of a small world in which names collide all the time.
func (e *editor) edit(t testing.TB) {
	t.Helper()
	n := e.random.IntN(4)
	kind := e.pick("gateway", "gateway", "gateway", "route", "route", "route", "route", "backend", "service", "slice", "secret", "policy", "policy", "policy",
		"extension", "client", "grant", "set", "class", "namespace", "tls", "traffic", "certificate", "proxy")
	name := fmt.Sprintf("%s-%d", kind, n)
	if kind == "namespace" || kind == "certificate" {
		name = kind // there is one
	}
	if e.random.IntN(4) == 0 {
		_ = os.Remove(filepath.Join(e.dir, name+".yaml"))
		return
	}
	e.write(t, name, strings.ReplaceAll(e.object(kind, n), "\t", "  "))
}

func (e *editor) object(kind string, n int) string {
	switch kind {
	case "gateway":
		return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g%d, labels: {tier: %s}}\nspec: {gatewayClassName: %s%s, addresses: [{value: 127.0.0.1}], allowedListeners: {namespaces: {from: %s}}, listeners: [{name: a, port: %s, protocol: HTTP%s}, {name: b, port: 82, protocol: HTTP, hostname: %s}%s]}",
			n, e.pick("x", "y"), e.pick("c", "c", "c1"), e.pick("", ", infrastructure: {parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: e1}}"), e.pick("Same", "None"), e.pick("80", "81"),
			e.pick("", ", hostname: \"*.example\"", ", allowedRoutes: {namespaces: {from: All}}", ", allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}"),
			e.pick("a.example", "b.example", "\"*.example\""), e.pick("", ", {name: c, port: 443, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: [{name: cert}]}}, {name: d, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}"))
	case "route":
		return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%d, namespace: %s, labels: {tier: %s}}\nspec: {parentRefs: [{namespace: default, %s%d}], hostnames: [%s], rules: [{name: %s, matches: [{path: {value: /%s}}]%s, backendRefs: [{%s}]}]}",
			n, e.pick("default", "default", "default", "other"), e.pick("x", "y"), e.pick("name: g", "name: g", "kind: ListenerSet, name: l"), e.random.IntN(4), e.pick("", "a.example"), e.pick("one", "two"), e.pick("a", "b"),
			e.pick("", "", ", sessionPersistence: {}", ", filters: [{type: RequestMirror, requestMirror: {backendRef: {name: s2, namespace: other, port: 80}}}]"),
			e.pick("group: gateway.envoyproxy.io, kind: Backend, name: b1", "name: s1, port: 80", "name: s1, namespace: other, port: 80"))
	case "set":
		return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: l%d}\nspec: {parentRef: {name: g%d}, listeners: [{name: a, port: 80, protocol: HTTP, hostname: %s}]}",
			n, e.random.IntN(4), e.pick("a.example", "b.example", "\"*.example\""))
	case "backend":
		return fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {name: b%d}\nspec: {endpoints: [{ip: {address: 127.0.0.1, port: %s}}]}", n, e.pick("1", "2"))
	case "service":
		return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: s%d, namespace: %s}\nspec: {clusterIP: 10.0.0.1, ports: [{port: 80, name: %s}]}", n, e.pick("default", "other"), e.pick("a", "b"))
	case "slice":
		return fmt.Sprintf("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e%d, labels: {kubernetes.io/service-name: s1}}\naddressType: IPv4\nports: [{name: a, port: 1}]\nendpoints: [{addresses: [10.0.0.%d]}]", n, e.random.IntN(9))
	case "secret":
		return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: u1}\nstringData: {.htpasswd: \"u%d:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\"}", n)
	case "policy":
		return fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p%d}\nspec: {%s%s, %s}", n,
			e.pick("targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r1}]", "targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r2}]",
				"targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r1, sectionName: one}]", "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g1}]",
				"targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g1, sectionName: b}]", "targetRefs: [{group: gateway.networking.k8s.io, kind: ListenerSet, name: l1}]",
				"targetSelectors: [{group: gateway.networking.k8s.io, kind: HTTPRoute, matchLabels: {tier: x}}]", "targetSelectors: [{group: gateway.networking.k8s.io, kind: Gateway, matchLabels: {tier: y}}]",
				"targetSelectors: [{kind: HTTPRoute, matchLabels: {tier: x}, namespaces: {from: All}}]", "targetSelectors: [{kind: ListenerSet}]",
				"targetSelectors: [{kind: HTTPRoute, namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}]"),
			e.pick("", ", mergeType: StrategicMerge", ", mergeType: JSONMerge"),
			e.pick("basicAuth: {users: {name: u1}}", "basicAuth: {users: {name: u1}}, cors: {allowOrigins: [https://a.example]}", "cors: {allowOrigins: [\"*\"]}", "authorization: {defaultAction: Deny}", "nonsense: 1",
				"authorization: {rules: [{action: Allow, principal: {clientIPGeoLocations: [{country: CH}]}}]}",
				"extAuth: {grpc: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b1}]}}"))
	case "extension":
		return fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyExtensionPolicy\nmetadata: {name: x%d}\nspec: {%s, extProc: [{backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b%d}]}]}", n,
			e.pick("targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r1}]", "targetSelectors: [{group: gateway.networking.k8s.io, kind: HTTPRoute, matchLabels: {tier: x}}]"), e.random.IntN(4))
	case "certificate":
		return e.certificate
	case "class":
		return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: c%d}\nspec: {controllerName: %s%s}", n, e.pick("example.com/other", "gatehouse.dev/gateway-controller", "gatehouse.dev/gateway-controller"),
			e.pick("", ", parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, namespace: default, name: e2}"))
	case "proxy":
		return fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nmetadata: {name: e%d}\nspec: {%s%s}", n, e.pick("", "mergeType: JSONMerge, "), e.pick("", "geoIP: {provider: {type: MaxMind, maxMind: {countryDbSource: {local: {path: /a.mmdb}}}}}",
			"geoIP: {provider: {type: MaxMind, maxMind: {cityDbSource: {local: {path: /b.mmdb}}}}}", "geoIP: {provider: {type: MaxMind, maxMind: {ispDbSource: {local: {path: /c.mmdb}}}}}"))
	case "namespace":
		return fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {team: %s}}", e.pick("default", "other"), e.pick("a", "b"))
	case "tls":
		return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: t%d}\nspec: {targetRefs: [{group: \"\", kind: Service, name: s%d}], validation: {hostname: a.example, wellKnownCACertificates: System}}", n, n)
	case "traffic":
		return fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: BackendTrafficPolicy\nmetadata: {name: b%d}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r%d}]}", n, e.random.IntN(4))
	case "client":
		return fmt.Sprintf("apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\nmetadata: {name: c%d}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: g1}], clientIPDetection: {xForwardedFor: {numTrustedHops: %d}}%s}", n, 1+e.random.IntN(2), e.pick("", ", timeout: {}"))
	}
	return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: {name: t%d, namespace: other}\nspec: {%s}", n, e.pick(
		"from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}], to: [{group: \"\", kind: Service}]",
		"from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: default}], to: [{group: gateway.networking.k8s.io, kind: HTTPRoute}]"))
}

// TestIncrementalEqualsFull: what came before changes the cost of a translation, never its outcome.
func TestIncrementalEqualsFull(t *testing.T) {
	t.Parallel()
	edits := 10_000
	if testing.Short() {
		edits = 200
	}
	e, tr := newEditor(t, 1), newTranslator()
	var last *translator.Result
	reused, served := 0, 0
	for i := range edits {
		e.edit(t)
		set := e.load(t)
		full := tr.Translate(set, nil)
		last = tr.Translate(set, last)
		reused += last.Reused
		served += len(last.Snapshot.Policies)
		if !reflect.DeepEqual(last.Snapshot, full.Snapshot) || !reflect.DeepEqual(last.Conditions, full.Conditions) || !reflect.DeepEqual(last.Listeners, full.Listeners) {
			t.Fatalf("edit %d: incremental and full translation differ:\n%s\n---\n%s", i, conditions(last), conditions(full))
		}
	}
	if reused < edits || served < edits/16 {
		t.Fatalf("the edits were no test: %d pieces reused, %d policies served", reused, served)
	}
}

// world writes n routes with a policy each below one Gateway.
func world(t testing.TB, n int) *editor {
	t.Helper()
	e := newEditor(t, 1)
	e.write(t, "gateway", "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: c, listeners: [{name: a, port: 80, protocol: HTTP}]}")
	e.write(t, "backend", "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: Backend\nmetadata: {name: b}\nspec: {endpoints: [{ip: {address: 127.0.0.1, port: 1}}]}")
	for i := range n {
		e.write(t, fmt.Sprintf("route-%d", i), routeWithPolicy(i, "GET"))
	}
	return e
}

func routeWithPolicy(i int, method string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r%[1]d}
spec: {parentRefs: [{name: g}], rules: [{matches: [{path: {value: /r%[1]d}}], backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: p%[1]d}
spec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r%[1]d}], cors: {allowOrigins: ["https://a.example"], allowMethods: [%[2]s]}, authorization: {defaultAction: Allow}}
`, i, method)
}

// BenchmarkTranslate translates everything anew.
func BenchmarkTranslate(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			set, tr := world(b, n).load(b), newTranslator()
			b.ReportAllocs()
			for b.Loop() {
				tr.Translate(set, nil)
			}
		})
	}
}

// BenchmarkEdit translates after an edit of one policy.
func BenchmarkEdit(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("routes=%d", n), func(b *testing.B) {
			e, tr := world(b, n), newTranslator()
			sets := []*resource.Set{e.load(b)}
			e.write(b, "route-7", routeWithPolicy(7, "POST"))
			sets = append(sets, e.load(b))
			last := tr.Translate(sets[0], nil)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				last = tr.Translate(sets[(i+1)%2], last)
			}
		})
	}
}
