package standalone_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
	"github.com/gatehouse-proxy/gatehouse/translator/kubestatus"
)

const checked = `# a comment
apiVersion: v1
kind: List
items:
- apiVersion: gateway.networking.k8s.io/v1
  kind: Gateway
  metadata: {name: gw}
  spec:
    gatewayClassName: c
    listeners:
    - {name: http, port: 8080, protocol: HTTP}
    - name: tcp
      port: 8081
      protocol: TCP
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs:
  - name: gw
    sectionName: http
  - name: gone
  rules:
  - matches:
    - path: {value: /a}
    backendRefs:
    - name: missing
      port: 80
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: {name: p}
spec:
  targetRefs:
  - {group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}
  basicAuth:
    users: {name: users}
  cors:
    allowOrigins: ["https://a.example"]
    maxAge: 60
---
apiVersion: v1
kind: Secret
metadata: {name: users}
stringData: {.htpasswd: "alice:plaintext-password"}
`

// TestFindingsNameTheLine: a fault that only translating or compiling shows is told at the line of its field.
func TestFindingsNameTheLine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(path, []byte(checked), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := standalone.Check([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	faults, warnings := result.Findings()
	want := []string{
		":12: Gateway default/gw: spec.listeners[tcp]: protocol TCP",
		":23: HTTPRoute default/r: spec.parentRefs[1]: Gateway default/gone",
		":27: HTTPRoute default/r: spec.rules[0].backendRefs: Service default/missing",
		":38: SecurityPolicy default/p: spec.basicAuth.users: htpasswd line 1",
	}
	if len(faults) != len(want) || len(warnings) != 1 || warnings[0].Origin.Line != 41 {
		t.Fatalf("got %v and %v", faults, warnings)
	}
	for i, f := range faults {
		if !strings.HasPrefix(f.String(), path+want[i]) {
			t.Errorf("got %q, want %q", f, want[i])
		}
		if strings.Contains(f.String(), "plaintext-password") {
			t.Error("a secret is told")
		}
	}
	if !kubestatus.Faulty(result.Statuses()) {
		t.Error("the statuses tell no fault")
	}
}

func TestNothingReadableIsAnInputFault(t *testing.T) {
	t.Parallel()
	for _, paths := range [][]string{{"/nonexistent"}, {""}, nil} {
		if _, err := standalone.Check(paths); !errors.Is(err, standalone.ErrInput) {
			t.Errorf("%q: %v", paths, err)
		}
	}
}

// TestNamesOfEnvoyLeadToObjects: what Envoy refuses is told at the object that it stems from.
func TestNamesOfEnvoyLeadToObjects(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		object string
		rule   int
	}{
		"httproute/ns/r/rule/2":                      {"HTTPRoute ns/r", 3},
		"httproute/ns/r/rule/0/backend/1":            {"HTTPRoute ns/r", 1},
		"securitypolicy/ns/p/extauth":                {"SecurityPolicy ns/p", 0},
		"envoyextensionpolicy/ns/p/extproc/0":        {"EnvoyExtensionPolicy ns/p", 0},
		"listener/127.0.0.1:80":                      {"", 0},
		"gatehouse.authorizer":                       {"", 0},
		"somethingelse/ns/name":                      {"", 0},
		"httproute/ns/r/rule/x":                      {"HTTPRoute ns/r", 0},
		"httproute/ns/r/rule/99999999999999999999/b": {"HTTPRoute ns/r", 0},
	} {
		got := standalone.Refused(name, "words\n of  Envoy")
		switch {
		case want.object == "" && len(got) == 0:
		case len(got) != 1 || got[0].Object.String() != want.object || got[0].Rule != want.rule || !strings.Contains(got[0].Message, "words of Envoy"):
			t.Errorf("%s: %+v", name, got)
		}
	}
}
