package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

// levels are where a policy can be attached, the nearest to a request first.
var levels = []string{"rule", "route", "listener", "gateway"}

// kinds of policies at a level. One that asks for a password has users of that level alone.
var levelSpecs = map[byte]string{
	'-': "", // none
	'p': "  basicAuth: {users: {name: LEVEL}}",
	'P': "  mergeType: JSONMerge\n  basicAuth: {users: {name: LEVEL}}",
	'c': "  cors: {allowOrigins: [\"https://a.example\"]}",
	'S': "  mergeType: StrategicMerge\n  cors: {allowOrigins: [\"https://a.example\"]}",
}

// What is tried at each level: at a Gateway there is nothing to merge with.
const onGateway, onListener, onRoute, onRule = "-p", "-pcS", "-PcS", "-pPS"

// asking is the level whose password a request needs where the levels have policies of these kinds; "": none. The
// nearest policy decides, and what it doesn't say the next one does if it merges.
func asking(kinds string) string {
	for i, kind := range []byte(kinds) {
		switch kind {
		case 'p', 'P':
			return levels[i]
		case 'c':
			return ""
		}
	}
	return ""
}

// TestAttackBetweenTheLevels: with policies at every combination of Gateway, listener, route and rule, that merge or
// don't, the right one's users pass and nobody else does.
func TestAttackBetweenTheLevels(t *testing.T) {
	t.Parallel()
	backend, port := gatewaytest.NewBackend(t, "b"), freePort(t)
	manifests := []string{backendManifest("b", backend.Port)}
	for _, level := range levels {
		manifests = append(manifests, strings.NewReplacer("{name: users}", "{name: "+level+"}", "alice:", level+":").Replace(usersManifest))
	}
	attach := func(kind byte, level, name, target string) {
		if kind != '-' {
			manifests = append(manifests, onTarget(name+"-"+level, target, strings.ReplaceAll(levelSpecs[kind], "LEVEL", level)))
		}
	}
	combinations := map[string]string{} // host → kinds from rule to Gateway
	for g := range len(onGateway) * len(onListener) {
		outer, listener := onGateway[g/len(onListener)], onListener[g%len(onListener)]
		gateway := fmt.Sprintf("g%d", g)
		manifests = append(manifests, listenersManifest(gateway, port, "l=*."+gateway+".example"))
		attach(outer, "gateway", gateway, "kind: Gateway, name: "+gateway)
		attach(listener, "listener", gateway, "kind: Gateway, name: "+gateway+", sectionName: l")
		for r := range len(onRoute) * len(onRule) {
			whole, rule := onRoute[r/len(onRule)], onRule[r%len(onRule)]
			name := fmt.Sprintf("r%d-%s", r, gateway)
			host := fmt.Sprintf("r%d.%s.example", r, gateway)
			combinations[host] = string([]byte{rule, whole, listener, outer})
			manifests = append(manifests, strings.Replace(route(name, host, "name: n\n"+to("b")), "{name: gw}", "{name: "+gateway+"}", 1))
			attach(whole, "route", name, "kind: HTTPRoute, name: "+name)
			attach(rule, "rule", name, "kind: HTTPRoute, name: "+name+", sectionName: n")
		}
	}
	gatewaytest.Start(t, all(manifests...))
	for host, kinds := range combinations {
		want := asking(kinds)
		expected := map[bool]int{true: http.StatusOK, false: http.StatusUnauthorized}
		if a := gatewaytest.Get(t, at(port, "/"), "Host: "+host); a.Status != expected[want == ""] {
			t.Errorf("%s: %d without a password", kinds, a.Status)
		}
		for _, level := range levels {
			password := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(level+":password"))
			if a := gatewaytest.Get(t, at(port, "/"), "Host: "+host, password); a.Status != expected[want == "" || want == level] {
				t.Errorf("%s: %d for a user of the %s, want those of %q", kinds, a.Status, level, want)
			}
		}
	}
}
