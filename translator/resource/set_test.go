package resource_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/translator/resource"
)

func TestOneFaultyDocumentDoesntAffectAnother(t *testing.T) {
	t.Parallel()
	set, problems := build("kind: [\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: bad}\nspec: {rulez: []}\n" +
		"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: good}\nspec: {}\n" +
		"---\njust text\n---\n- a\n---\nfoo: bar\n---\n# a comment\n")
	all := set.HTTPRoutes.All()
	if len(all) != 2 || all[0].Name != "bad" || all[1].Name != "good" {
		t.Errorf("routes are %v", all)
	}
	for name, faulty := range map[string]bool{"bad": true, "good": false} {
		if reason := set.Invalid(resource.Key{Kind: "HTTPRoute", Namespace: "default", Name: name}); (reason != "") != faulty {
			t.Errorf("route %s is invalid because of %q", name, reason)
		}
	}
	want := []string{
		"isn't valid YAML",
		"f:6: HTTPRoute default/bad: spec.rulez: is not a known field; did you mean rules?",
		"f:13: isn't a Kubernetes object", "f:15: isn't a Kubernetes object",
		"f:17: isn't a Kubernetes object: it needs apiVersion and kind",
	}
	got := problemTexts(problems)
	for i := range want {
		if i >= len(got) || !strings.Contains(got[i], want[i]) {
			t.Fatalf("problems are\n%s", strings.Join(got, "\n"))
		}
	}
	if len(got) != len(want) {
		t.Errorf("problems are\n%s", strings.Join(got, "\n"))
	}
}

func TestUnknownKinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ apiVersion, kind, problem string }{
		"misspelt route":      {"gateway.networking.k8s.io/v1", "HttpRoutes", "did you mean HTTPRoute?"},
		"no such kind":        {"gateway.envoyproxy.io/v1alpha1", "Zebra", "known are Backend, BackendTrafficPolicy,"},
		"group left out":      {"v1", "HTTPRoute", "apiVersion: there is no HTTPRoute in this group; did you mean gateway.networking.k8s.io/v1?"},
		"old version":         {"gateway.networking.k8s.io/v1alpha1", "HTTPRoute", "write gateway.networking.k8s.io/v1"},
		"Deployment":          {"apps/v1", "Deployment", ""},
		"core kind":           {"v1", "ServiceAccount", ""},
		"another's Gateway":   {"networking.istio.io/v1", "Gateway", ""},
		"autoscaler":          {"autoscaling/v2", "HorizontalPodAutoscaler", ""},
		"Envoy Gateway's own": {"gateway.envoyproxy.io/v1alpha1", "EnvoyGateway", ""},
	} {
		set, problems := build("apiVersion: " + c.apiVersion + "\nkind: " + c.kind + "\nmetadata: {name: x}\nspec: {foo: bar}\n")
		if c.problem == "" {
			if len(problems) != 0 || len(set.Notes()) != 1 {
				t.Errorf("%s: problems %v, notes %v", name, problemTexts(problems), set.Notes())
			}
			continue
		}
		if len(problems) == 0 || !strings.Contains(problems[0].String(), c.problem) {
			t.Errorf("%s: problems %v", name, problemTexts(problems))
		}
	}
}

func TestMetadataIsCompleted(t *testing.T) {
	t.Parallel()
	set, problems := build("apiVersion: v1\nkind: Service\nmetadata: {name: s}\n---\n" +
		"apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: made}\n---\n" +
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: given, labels: {a: b}}\n---\n" +
		"apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: c, namespace: x}\nspec: {controllerName: a.b/c}\nstatus: {unknown: 1}\n")
	if len(problems) != 0 {
		t.Fatal(problemTexts(problems))
	}
	for _, namespace := range []string{"default", "made", "given"} {
		n, ok := set.Namespaces.Get("", namespace)
		if !ok || n.Labels["kubernetes.io/metadata.name"] != namespace {
			t.Errorf("namespace %s: %v", namespace, n)
		}
	}
	if set.Namespaces.Len() != 3 {
		t.Errorf("%d namespaces", set.Namespaces.Len())
	}
	if _, ok := set.GatewayClasses.Get("", "c"); !ok {
		t.Error("a cluster-scoped object has a namespace")
	}
	if _, ok := set.Origin(resource.Key{Kind: "Namespace", Name: "made"}); ok {
		t.Error("a namespace that is made has an origin")
	}
	if s, ok := set.Services.Get("default", "s"); !ok || len(set.Services.Namespace("default")) != 1 || set.Services.Namespace("default")[0] != s {
		t.Error("the index by namespace is wrong")
	}
}

func TestSecretStringDataIsFoldedIntoData(t *testing.T) {
	t.Parallel()
	set, problems := build("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: eA==, b: eQ==}\nstringData: {b: z, c: \"\\u00e4\"}\n")
	s, ok := set.Secrets.Get("default", "s")
	if !ok || len(problems) != 0 || string(s.Data["a"]) != "x" || string(s.Data["b"]) != "z" || string(s.Data["c"]) != "ä" || s.StringData != nil {
		t.Errorf("secret is %v, problems %v", s, problemTexts(problems))
	}
}

func TestSecretValuesAreNeverPrinted(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]string{
		"not base64": "data: {a: hunter2!}", "a number": "stringData: {a: 20771}", "a list": "data: {a: [hunter2]}",
		"a list of text": "stringData: [hunter2]", "type": "type: {hunter2: hunter2}", "twice": "data: {a: hunter2}\ndata: {b: hunter2}",
	} {
		set, problems := build("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n" + fields + "\n")
		text := strings.Join(problemTexts(problems), "\n")
		if len(problems) == 0 || set.Secrets.Len() != 0 {
			t.Errorf("%s: accepted", name)
		}
		if strings.Contains(text, "20771") || name != "type" && strings.Contains(text, "hunter2") {
			t.Errorf("%s: printed: %s", name, text)
		}
	}
}

func TestOfTwoObjectsTheFirstIsKept(t *testing.T) {
	t.Parallel()
	service := func(ip string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: " + ip + "}\n"
	}
	first, second := resource.Decode([]byte(service("1.1.1.1"))), resource.Decode([]byte(service("2.2.2.2")))
	builder := resource.NewBuilder(nil)
	builder.Add(second, resource.Origin{File: "b", Line: 1})
	builder.Add(first, resource.Origin{File: "a", Line: 9})
	set, problems := builder.Build()
	if s, _ := set.Services.Get("default", "s"); s.Spec.ClusterIP != "1.1.1.1" {
		t.Errorf("kept %s", s.Spec.ClusterIP)
	}
	if got := problemTexts(problems); len(got) != 1 || got[0] != "b:1: Service default/s: is already defined at a:9, which is used; remove one of the two" {
		t.Errorf("problems are %v", got)
	}
}

func TestPolicyWhoseNameIsTakenStillGuardsItsTargets(t *testing.T) {
	t.Parallel()
	first := policy("  cors: {}\n")
	set, problems := build(first + "---\n" + strings.Replace(first, "name: r}", "name: other}", 1) + "---\n" + first)
	if len(problems) != 2 {
		t.Errorf("problems are %v", problemTexts(problems))
	}
	all := set.SecurityPolicies.All()
	if len(all) != 2 || all[0].Name != "p" || all[0].Invalid != "" {
		t.Fatalf("%d policies", len(all))
	}
	twin := all[1]
	if twin.Invalid == "" || twin.Spec.TargetRefs[0].Name != "other" || !strings.HasPrefix(twin.Name, "p-duplicate-") || twin.Spec.CORS != nil {
		t.Errorf("the second is %+v", twin)
	}
}

func TestJSONAndLists(t *testing.T) {
	t.Parallel()
	set, problems := build("{\n\t\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n" +
		"\t\t{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}, \"data\": {\"x\": \"\\ud83d\\ude00\\/\"}},\n" +
		"\t\t{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"b\"}, \"dada\": {}}\n\t]}\n" +
		"{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"c\"}, \"data\": {\"n\": 1}}\n")
	if a, ok := set.ConfigMaps.Get("default", "a"); !ok || a.Data["x"] != "😀/" {
		t.Errorf("a is %v", a)
	}
	got := problemTexts(problems)
	if len(got) != 2 || !strings.HasPrefix(got[0], "f:4: ") || !strings.HasSuffix(got[0], "dada: is not a known field; did you mean data?") ||
		got[1] != "f:6: ConfigMap default/c: data.n: must be a string, not an integer: put it in quotes" {
		t.Errorf("problems are %v", got)
	}
}

func TestAnchorsAndMergeKeysWork(t *testing.T) {
	t.Parallel()
	set, problems := build("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: &l {x: 1a, y: 2a}}\ndata:\n  <<: *l\n  y: own\n")
	a, ok := set.ConfigMaps.Get("default", "a")
	if !ok || len(problems) != 0 || a.Data["x"] != "1a" || a.Data["y"] != "own" {
		t.Errorf("got %v, problems %v", a, problemTexts(problems))
	}
}

func TestKeepFillsOnlyGaps(t *testing.T) {
	t.Parallel()
	old := resource.Decode([]byte("apiVersion: v1\nkind: List\nitems:\n" +
		"- {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {clusterIP: 1.1.1.1}}\n" +
		"- {apiVersion: v1, kind: Service, metadata: {name: b}, spec: {clusterIP: 1.1.1.1}}\n" +
		"- {apiVersion: v1, kind: Service, metadata: {name: c}, spec: {clusterIPX: 1.1.1.1}}\n"))
	now := resource.Decode([]byte("{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {clusterIP: 2.2.2.2}}"))
	builder := resource.NewBuilder(nil)
	builder.Keep(old, resource.Origin{File: "a", Line: 1})
	builder.Add(now, resource.Origin{File: "z", Line: 1})
	set, problems := builder.Build()
	a, _ := set.Services.Get("default", "a")
	b, _ := set.Services.Get("default", "b")
	if len(problems) != 0 || a == nil || b == nil || a.Spec.ClusterIP != "1.1.1.1" || b.Spec.ClusterIP != "2.2.2.2" {
		t.Errorf("got %v and %v, problems %v", a, b, problemTexts(problems))
	}
}

func TestSplitKeepsLines(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text  string
		lines []int
	}{
		"nothing":           {"", nil},
		"only comments":     {"# a\n---\n# b\n", nil},
		"one":               {"a: 1", []int{1}},
		"two":               {"a: 1\n---\nb: 2\n", []int{1, 2}},
		"leading separator": {"---\na: 1\n---\nb: 2\n", []int{1, 3}},
		"Windows":           {"a: 1\r\n---\r\nb: 2\r\n", []int{1, 2}},
		"text after it":     {"a: 1\n--- # b\nb: 2\n--- {c: 3}\n", []int{1, 2, 4}},
		"not a separator":   {"a: |\n  ---\n  x\n---b: 1\n", []int{1}},
		"directive":         {"%YAML 1.2\n---\na: 1\n---\nb: 1\n", []int{1, 4}},
		"byte order mark":   {"\xef\xbb\xbfa: 1\n---\nb: 1\n", []int{1, 2}},
		"comment first":     {"# a\n\n---\na: 1\n", []int{3}},
	} {
		var lines []int
		for _, chunk := range resource.Split([]byte(c.text)) {
			lines = append(lines, chunk.Line)
		}
		if len(lines) != len(c.lines) {
			t.Errorf("%s: chunks at %v, want %v", name, lines, c.lines)
			continue
		}
		for i := range lines {
			if lines[i] != c.lines[i] {
				t.Errorf("%s: chunks at %v, want %v", name, lines, c.lines)
			}
		}
	}
}
