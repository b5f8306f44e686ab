package standalone_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/standalone"
)

const extProcBase = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: gatehouse
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{ip: {address: 127.0.0.1, port: 9000}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyExtensionPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r}]
  extProc:
`

// extProc is one processor of the policy; its backend is there already.
func extProc(fields string) string {
	return "  - backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: b}]\n" + fields
}

func TestContradictionsOfAProcessorsFilterAreTold(t *testing.T) {
	t.Parallel()
	const duplex = "    messageTimeout: 2s\n    processingMode: {request: {body: FullDuplexStreamed}, response: {}}\n"
	for name, c := range map[string]struct {
		processors       string
		faults, warnings []string
	}{
		"the recommended one": {extProc("    messageTimeout: 1s\n    processingMode: {allowModeOverride: true, request: {}, response: {}}\n"), nil, nil},
		"default timeout":     {extProc("    processingMode: {request: {}}\n"), nil, []string{"spec.extProc[0].messageTimeout: 200ms includes connecting"}},
		"nothing is sent":     {extProc("    messageTimeout: 1s\n"), nil, []string{"spec.extProc[0].processingMode: nothing is sent"}},
		"override of full duplex": {extProc("    messageTimeout: 1s\n    processingMode: {allowModeOverride: true, request: {body: FullDuplexStreamed}}\n"), nil,
			[]string{"spec.extProc[0].processingMode.allowModeOverride: Envoy ignores overrides"}},
		"fail open, full duplex": {extProc(duplex + "    failOpen: true\n"), nil,
			[]string{"spec.extProc[0].failOpen: doesn't hold once"}},
		"two in full duplex": {extProc(duplex) + extProc(duplex), nil,
			[]string{"spec.extProc[1].processingMode.request.body: two filters of one chain"}},
		"shadow of buffered bodies": {extProc("    messageTimeout: 1s\n    shadowMode: true\n    processingMode: {request: {body: BufferedPartial}}\n"),
			[]string{"spec.extProc[0].processingMode.request.body: observability mode sends no bodies"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checked, err := standalone.Check([]string{write(t, extProcBase+c.processors)})
			if err != nil {
				t.Fatal(err)
			}
			faults, warnings := checked.Findings()
			for _, side := range []struct {
				what string
				got  []string
				want []string
			}{{"faults", lines(faults), c.faults}, {"warnings", lines(warnings), c.warnings}} {
				if len(side.got) != len(side.want) {
					t.Fatalf("%s: %q, want %q", side.what, side.got, side.want)
				}
				for i, want := range side.want {
					if !strings.Contains(side.got[i], "EnvoyExtensionPolicy default/p: "+want) {
						t.Errorf("%q lacks %q", side.got[i], want)
					}
				}
			}
		})
	}
}

func lines[T interface{ String() string }](all []T) (out []string) {
	for _, one := range all {
		out = append(out, one.String())
	}
	return out
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
