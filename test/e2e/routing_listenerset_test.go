package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/gatewaytest"
)

func TestListenerSets(t *testing.T) {
	t.Parallel()
	backend, port, tlsPort := gatewaytest.NewBackend(t, "b"), freePort(t), freePort(t)
	certificate := gatewaytest.NewCertificate(t, "s.example")
	gateway := strings.Replace(gatewayManifest(port), "spec:\n", "spec:\n  allowedListeners: {namespaces: {from: Same}}\n", 1)
	gateway = strings.Replace(gateway, "protocol: HTTP}", "protocol: HTTP, hostname: gw.example}", 1)
	set := func(namespace, listeners string) string {
		return "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: set, namespace: " + namespace + "}\nspec:\n" +
			"  parentRef: {name: gw, namespace: default}\n  listeners:\n" + listeners
	}
	toSet := func(name, section, rule string) string {
		return strings.Replace(route(name, "", rule), "{name: gw}", "{kind: ListenerSet, name: set, sectionName: "+section+"}", 1)
	}
	listener := func(name, hostname string) string {
		return fmt.Sprintf("  - {name: %s, port: %d, protocol: HTTP, hostname: %s}\n", name, port, hostname)
	}
	grant := "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: certs}\nspec:\n" +
		"  from: [{group: gateway.networking.k8s.io, kind: ListenerSet, namespace: default}]\n  to: [{group: \"\", kind: Secret}]\n"
	g := gatewaytest.Start(t, map[string]string{
		"set.yaml": set("default", listener("open", "open.example")+listener("guarded", "guarded.example")+
			fmt.Sprintf("  - {name: tls, port: %d, protocol: HTTPS, tls: {certificateRefs: [{name: c, namespace: certs}]}}\n", tlsPort)),
		"other.yaml": set("other", listener("stolen", "other.example")), "grant.yaml": grant,
		"secret.yaml": strings.Replace(certificate.Secret("c"), "{name: c}", "{name: c, namespace: certs}", 1),
		"all.yaml": strings.Join([]string{
			gateway, usersManifest, backendManifest("b", backend.Port), route("gw", "", to("b")),
			toSet("open", "open", to("b")), toSet("guarded", "guarded", to("b")), toSet("tls", "tls", to("b")),
			"apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: p}\nspec:\n" +
				"  targetRefs: [{group: gateway.networking.k8s.io, kind: ListenerSet, name: set, sectionName: guarded}]\n" + basicSpec,
		}, "\n---\n"),
	})
	for host, want := range map[string]int{
		"gw.example": http.StatusOK, "open.example": http.StatusOK, "guarded.example": http.StatusUnauthorized, "other.example": http.StatusNotFound,
	} {
		if a := gatewaytest.Get(t, at(port, "/"), "Host: "+host); a.Status != want {
			t.Errorf("%s: %d, want %d", host, a.Status, want)
		}
	}
	if a := gatewaytest.Get(t, at(port, "/"), "Host: guarded.example", basicAlice); a.Status != http.StatusOK {
		t.Errorf("guarded.example with a password: %d", a.Status)
	}
	if status, err := getTLS(tlsPort, "s.example", certificate); err != nil || status != http.StatusOK {
		t.Errorf("HTTPS with a certificate of another namespace: %d %v", status, err)
	}
	g.Remove(t, "set.yaml")
	gatewaytest.Await(t, at(port, "/"), http.StatusNotFound, "Host: open.example")
	if a := gatewaytest.Get(t, at(port, "/"), "Host: gw.example"); a.Status != http.StatusOK {
		t.Errorf("the Gateway's own listener when its ListenerSet is gone: %d", a.Status)
	}
}
